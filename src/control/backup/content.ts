/** What is in a backup: the store and the files of keys, as a list of names and bytes. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { readBytesIfThere } from '../../mesh/files.ts'
import { migrations } from '../sqlite-schema.ts'

export const storeName = 'control.db'
export const witnessKeyName = 'witness.key'
/** Beside the store. The last ones are made or fetched anew where they are not there. */
const neededFiles = ['ca/root.pem', 'ca/issuing.pem']
/** Read in this order: while one is activated, a prepared key is in its first file, or in the needed ones that are read later, or in both. */
const preparedFiles = ['ca/root-next.pem', 'ca/issuing-next.pem']
const otherFiles = ['ca/authorities.json', 'ca/issuing-request.pem', 'txn-keys.json', 'key-sets.json', witnessKeyName]
const fileNames = [storeName, ...preparedFiles, ...neededFiles, ...otherFiles]

const content = z.object({
  files: z
    .array(z.object({ name: z.enum(fileNames), base64: z.string() }))
    .refine((files) => new Set(files.map(({ name }) => name)).size === files.length, 'a file twice')
    .refine(
      (files) => [storeName, ...neededFiles].every((name) => files.some((file) => file.name === name)),
      'a file is missing',
    ),
})

export interface BackupFile {
  readonly name: string
  readonly bytes: Buffer
}

export interface Snapshot {
  readonly files: readonly BackupFile[]
  readonly schema: number
  readonly epoch: number
  readonly revision: number
}

/** Of a control plane that runs, or not: the store as it is at one moment. @throws RingfenceError CONFIG */
export function snapshotOf(stateDir: string): Snapshot {
  const missing = [storeName, ...neededFiles].filter((name) => !existsSync(join(stateDir, name)))
  if (missing.length > 0) {
    throw new RingfenceError(
      'CONFIG',
      `${stateDir} is not the folder of a control plane: it has no ${missing.join()}`,
      {
        hint: '--state-dir is that of ringfence control',
      },
    )
  }
  const store = storeOf(join(stateDir, storeName))
  const files = [...preparedFiles, ...neededFiles, ...otherFiles]
  const { bytes, ...numbers } = store
  return {
    ...numbers,
    files: [{ name: storeName, bytes }, ...files.flatMap((name) => fileIfThere(stateDir, name))],
  }
}

/** Also where it was renamed just now. */
function fileIfThere(stateDir: string, name: string): BackupFile[] {
  const bytes = readBytesIfThere(join(stateDir, name))
  return bytes === undefined ? [] : [{ name, bytes }]
}

function storeOf(path: string): { bytes: Buffer; schema: number; epoch: number; revision: number } {
  const db = new DatabaseSync(path, { readOnly: true, timeout: 10_000 })
  try {
    // One transaction: the numbers are those of the bytes.
    db.exec('BEGIN')
    const schema = Number(db.prepare('PRAGMA user_version').get()?.user_version)
    if (schema !== migrations.length) {
      throw new RingfenceError('CONFIG', `${path} has schema ${schema}, this program knows ${migrations.length}`, {
        hint: 'make the backup with the program that runs the control plane',
      })
    }
    const revision = Number(db.prepare('SELECT coalesce(max(revision), 0) AS n FROM policy_revisions').get()?.n)
    const epoch = Number(db.prepare('SELECT coalesce(max(epoch), 0) AS n FROM epochs').get()?.n)
    return { bytes: Buffer.from(db.serialize()), schema, epoch, revision }
  } finally {
    db.close()
  }
}

export function contentOf({ files }: Snapshot): Buffer {
  return Buffer.from(
    JSON.stringify({ files: files.map(({ name, bytes }) => ({ name, base64: bytes.toString('base64') })) }),
  )
}

/** @throws RingfenceError CONFIG; it was authenticated, so another program made it so */
export function filesOf(bytes: Buffer): readonly BackupFile[] {
  const read = content.safeParse(JSON.parse(bytes.toString('utf8')))
  if (!read.success) {
    throw new RingfenceError('CONFIG', 'the content of the backup is not understood', {
      hint: 'restore it with the program of the version that made it',
    })
  }
  return read.data.files.map(({ name, base64 }) => ({ name, bytes: Buffer.from(base64, 'base64') }))
}
