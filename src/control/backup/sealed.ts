/**
 * A backup of the control plane as a file:
 *
 *   RINGFENCE-BACKUP <newline> | length of the header, 4 bytes | header, JSON | AES-256-GCM of the content | tag, 16 bytes
 *
 * The key is made of a passphrase by scrypt, or of a key file by HKDF; salt and nonce are new for each file. All before the content is authenticated
 * with it, so that no byte of a file can be changed unseen.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { parseJson } from '../../mesh/answer.ts'

const backupFormat = 1
const magic = Buffer.from('RINGFENCE-BACKUP\n')
const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16
const headerBytesMax = 4_096
/** 128 MiB and about half a second: a guess costs as much. */
const costDefault = { n: 2 ** 17, r: 8, p: 1 }
/** A file cannot ask for more than this of who reads it. */
const scryptBytesMax = 512 * 1024 * 1024
const cipher = 'aes-256-gcm'

/** What a backup is encrypted with. */
export type BackupSecret =
  | { readonly kind: 'passphrase'; readonly text: string }
  /** At least 32 bytes that nobody can guess. */
  | { readonly kind: 'key'; readonly bytes: Buffer }

const derivation = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('passphrase'),
    salt: z.base64(),
    n: z
      .int()
      .min(2)
      .max(2 ** 20),
    r: z.int().min(1).max(32),
    p: z.int().min(1).max(16),
  }),
  z.object({ kind: z.literal('key'), salt: z.base64() }),
])

const backupAbout = z.object({
  /** Milliseconds since 1970. */
  madeMs: z.number(),
  /** Of the program that made it. */
  version: z.string(),
  /** Of the store. */
  schema: z.int(),
  epoch: z.int(),
  revision: z.int(),
})
export type BackupAbout = z.infer<typeof backupAbout>

const header = z.object({
  format: z.literal(backupFormat),
  cipher: z.literal(cipher),
  nonce: z.base64(),
  key: derivation,
  about: backupAbout,
})

type Derivation = z.infer<typeof derivation>

export async function sealBackup(content: Buffer, about: BackupAbout, secret: BackupSecret): Promise<Buffer> {
  const salt = randomBytes(16).toString('base64')
  const key: Derivation =
    secret.kind === 'passphrase' ? { kind: 'passphrase', salt, ...costDefault } : { kind: 'key', salt }
  const nonce = randomBytes(nonceBytes)
  const head = Buffer.from(
    JSON.stringify({ format: backupFormat, cipher, nonce: nonce.toString('base64'), key, about }),
  )
  const length = Buffer.alloc(4)
  length.writeUInt32BE(head.length)
  const front = Buffer.concat([magic, length, head])
  const sealing = createCipheriv(cipher, await keyOf(key, secret), nonce, { authTagLength: tagBytes })
  sealing.setAAD(front)
  const sealed = Buffer.concat([sealing.update(content), sealing.final()])
  return Buffer.concat([front, sealed, sealing.getAuthTag()])
}

/** @throws RingfenceError CONFIG where it is no backup, damaged, of a newer program, or of another secret */
export async function openBackup(file: Buffer, secret: BackupSecret): Promise<{ content: Buffer; about: BackupAbout }> {
  const { front, key, nonce, about } = readHeader(file)
  if (key.kind !== secret.kind) {
    const wanted = key.kind === 'passphrase' ? '--passphrase-file' : '--key-file'
    throw new RingfenceError('CONFIG', `the backup is not encrypted that way`, { hint: `give ${wanted}` })
  }
  const sealed = file.subarray(front.length, file.length - tagBytes)
  const opening = createDecipheriv(cipher, await keyOf(key, secret), nonce, { authTagLength: tagBytes })
  opening.setAAD(front)
  opening.setAuthTag(file.subarray(file.length - tagBytes))
  try {
    return { content: Buffer.concat([opening.update(sealed), opening.final()]), about }
  } catch (cause) {
    const what = key.kind === 'passphrase' ? 'passphrase' : 'key'
    throw new RingfenceError('CONFIG', `the ${what} is not that of the backup, or the file is damaged`, { cause })
  }
}

/** Whether something may be written in its place. */
export function isBackup(file: Buffer): boolean {
  return file.subarray(0, magic.length).equals(magic)
}

function readHeader(file: Buffer) {
  if (!isBackup(file)) throw new RingfenceError('CONFIG', 'the file is no backup of a control plane')
  const damaged = (): RingfenceError =>
    new RingfenceError('CONFIG', 'the backup is damaged', { hint: 'take another copy of it, or the one before' })
  if (file.length < magic.length + 4) throw damaged()
  const length = file.readUInt32BE(magic.length)
  const front = file.subarray(0, magic.length + 4 + length)
  if (length > headerBytesMax || file.length < front.length + tagBytes) throw damaged()
  const given = parseJson(front.subarray(magic.length + 4).toString('utf8'))
  const format = z.object({ format: z.int() }).safeParse(given)
  if (!format.success) throw damaged()
  if (format.data.format > backupFormat) {
    throw new RingfenceError(
      'CONFIG',
      `the backup has format ${format.data.format}, this program knows ${backupFormat}`,
      {
        hint: 'use the newer program',
      },
    )
  }
  const read = header.safeParse(given)
  if (!read.success) throw damaged()
  const { key, about } = read.data
  const nonce = Buffer.from(read.data.nonce, 'base64')
  if (nonce.length !== nonceBytes) throw damaged()
  if (key.kind === 'passphrase' && 128 * key.n * key.r * key.p > scryptBytesMax) throw damaged()
  return { front, key, nonce, about }
}

const scryptLater = promisify(
  (text: string, salt: Buffer, options: object, done: (error: Error | null, key: Buffer) => void) =>
    scrypt(text, salt, keyBytes, options, done),
)

async function keyOf(key: Derivation, secret: BackupSecret): Promise<Buffer> {
  const salt = Buffer.from(key.salt, 'base64')
  if (key.kind === 'key') {
    const bytes = secret.kind === 'key' ? secret.bytes : Buffer.alloc(0)
    return Buffer.from(hkdfSync('sha256', bytes, salt, 'ringfence backup', keyBytes))
  }
  const { n, r, p } = key
  const text = secret.kind === 'passphrase' ? secret.text : ''
  try {
    return await scryptLater(text.normalize('NFC'), salt, { N: n, r, p, maxmem: 2 * scryptBytesMax })
  } catch (cause) {
    // Such as a cost that is no power of two.
    throw new RingfenceError('CONFIG', 'the backup is damaged', { cause })
  }
}
