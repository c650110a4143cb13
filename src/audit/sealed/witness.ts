/**
 * A witness of logs (c2sp.org/tlog-witness): it signs a checkpoint that goes on from the one that it signed before, and no other.
 *
 * Rule: a checkpoint is kept before it is signed. Who puts a log back to an older state, or tells another story, finds a witness that has
 * seen the later one.
 */
import { createPublicKey, type KeyObject, sign } from 'node:crypto'
import { containOwnFault } from '../../base/contained.ts'
import type { WitnessAnswer, WitnessedLog, WitnessRequest } from '../../mesh/witness.ts'
import { isConsistent } from './hash-tree.ts'
import { type NoteKey, openCheckpoint, parseNoteKey } from './note.ts'
import { sha256 } from './tree.ts'

export interface WitnessBook {
  witnessed(origin: string): WitnessedLog | undefined
  putWitnessed(log: WitnessedLog): void
}

/** Of cosignature/v1. */
const cosignatureKind = 0x04

export class Witness {
  readonly #name: string
  readonly #privateKey: KeyObject
  readonly #id: Buffer
  /** As C2SP writes it, so that anybody can check its lines. */
  readonly verifierKey: string
  /** What was refused last of each log. */
  readonly #refused = new Map<string, string>()

  constructor(name: string, privateKey: KeyObject) {
    this.#name = name
    this.#privateKey = privateKey
    const raw = createPublicKey(privateKey).export({ type: 'spki', format: 'der' }).subarray(-32)
    const typed = Buffer.concat([Buffer.from([cosignatureKind]), raw])
    this.#id = sha256(Buffer.concat([Buffer.from(`${name}\n`), typed])).subarray(0, 4)
    this.verifierKey = `${name}+${this.#id.toString('hex')}+${typed.toString('base64')}`
  }

  /** Whether this is to be told: a log that is refused is shown each second. */
  isNews(origin: string, { refused }: WitnessAnswer): boolean {
    if (refused === 'other size' || refused === this.#refused.get(origin)) return false
    if (refused === undefined) this.#refused.delete(origin)
    else this.#refused.set(origin, refused)
    return refused !== undefined
  }

  /** @param origin which log this caller may speak of */
  add(book: WitnessBook, origin: string, request: WitnessRequest, nowMs: number): WitnessAnswer {
    const before = book.witnessed(origin)
    const size = before?.size ?? 0
    const refuse = (refused: WitnessAnswer['refused']): WitnessAnswer => ({ size, refused })
    if (before !== undefined && before.key !== request.key) return refuse('other key')
    const key = keyOf(request.key)
    const checkpoint = key?.name === origin ? openCheckpoint(request.checkpoint, key) : undefined
    if (key === undefined || checkpoint === undefined) return refuse('not signed')
    if (checkpoint.size < size) return refuse('rolled back')
    if (request.old !== size) return refuse('other size')
    const old = before === undefined ? undefined : openCheckpoint(before.checkpoint, key)
    const proof = request.proof.map((hash) => Buffer.from(hash, 'base64'))
    if (before !== undefined && (old === undefined || !isConsistent(old, checkpoint, proof))) return refuse('forked')
    const cosignature = this.#cosign(request.checkpoint, nowMs)
    const lines = `${request.checkpoint}${cosignature}\n`
    book.putWitnessed({ origin, key: request.key, size: checkpoint.size, atMs: nowMs, checkpoint: lines })
    return { size: checkpoint.size, cosignature }
  }

  #cosign(note: string, nowMs: number): string {
    const seconds = Math.floor(nowMs / 1000)
    const text = note.slice(0, note.indexOf('\n\n') + 1)
    const signature = sign(null, Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`), this.#privateKey)
    const time = Buffer.alloc(8)
    time.writeBigUInt64BE(BigInt(seconds))
    return `— ${this.#name} ${Buffer.concat([this.#id, time, signature]).toString('base64')}`
  }
}

/** Undefined for what is none. */
function keyOf(text: string): NoteKey | undefined {
  try {
    return parseNoteKey(text)
  } catch (reason) {
    containOwnFault('the key of a log', reason)
    return undefined
  }
}
