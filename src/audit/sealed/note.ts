/**
 * Signed notes and checkpoints as C2SP writes them (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), with Ed25519 keys.
 *
 * Rule: nothing is read of a note whose signature was not verified.
 */
import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { RingfenceError } from '../../base/errors.ts'
import { sha256 } from './tree.ts'

const ed25519 = 0x01
/** Of a public key as SubjectPublicKeyInfo, before its 32 bytes. */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex')

export interface NoteKey {
  /** Of the log: its origin. */
  readonly name: string
  readonly id: Buffer
  readonly publicKey: KeyObject
  /** `<name>+<key id>+<key>`, by which others know it. */
  readonly text: string
}

export interface Checkpoint {
  readonly origin: string
  readonly size: number
  readonly root: Buffer
}

export function noteKeyOf(name: string, publicKey: KeyObject): NoteKey {
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(spkiPrefix.length)
  const typed = Buffer.concat([Buffer.from([ed25519]), raw])
  const id = sha256(Buffer.concat([Buffer.from(`${name}\n`), typed])).subarray(0, 4)
  return { name, id, publicKey, text: `${name}+${id.toString('hex')}+${typed.toString('base64')}` }
}

/** @throws RingfenceError CONFIG for a text that is no key */
export function parseNoteKey(text: string): NoteKey {
  const match = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text)
  const typed = Buffer.from(match?.[3] ?? '', 'base64')
  if (match === null || typed.length !== 33 || typed[0] !== ed25519) throw badKey()
  const der = Buffer.concat([spkiPrefix, typed.subarray(1)])
  const key = noteKeyOf(match[1]!, createPublicKey({ key: der, format: 'der', type: 'spki' }))
  if (key.text !== text) throw badKey()
  return key
}

function badKey(): RingfenceError {
  return new RingfenceError('CONFIG', 'no key of a log', { hint: 'it is written <origin>+<key id>+<key>' })
}

export function signCheckpoint({ origin, size, root }: Checkpoint, key: NoteKey, privateKey: KeyObject): string {
  const text = `${origin}\n${size}\n${root.toString('base64')}\n`
  const signature = Buffer.concat([key.id, sign(null, Buffer.from(text), privateKey)])
  return `${text}\n— ${key.name} ${signature.toString('base64')}\n`
}

/** What a checkpoint says; undefined where `key` has not signed it. */
export function openCheckpoint(note: string, key: NoteKey): Checkpoint | undefined {
  const end = note.indexOf('\n\n')
  if (end < 0) return undefined
  const text = note.slice(0, end + 1)
  const isSigned = note
    .slice(end + 2)
    .split('\n')
    .some((line) => {
      const [dash, name, value = ''] = line.split(' ')
      if (dash !== '—' || name !== key.name) return false
      const bytes = Buffer.from(value, 'base64')
      return bytes.subarray(0, 4).equals(key.id) && verify(null, Buffer.from(text), key.publicKey, bytes.subarray(4))
    })
  const [origin, size, root = ''] = text.split('\n')
  if (!isSigned || origin !== key.name || !/^(0|[1-9]\d{0,15})$/.test(size ?? '')) return undefined
  const hash = Buffer.from(root, 'base64')
  return hash.length === 32 ? { origin, size: Number(size), root: hash } : undefined
}
