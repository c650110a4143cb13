/**
 * The sidecars' sealed records, collected: a folder with a folder for each log, which is a log itself.
 *
 * Rule: a log is collected where the witness knows its key, and only what goes on to what the witness signed. At most so many pieces are
 * taken at once; who comes beside them is told to come later. What others need of the disk is left free.
 */
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { makeDirectory } from '../audit/directory.ts'
import { CollectedLog, type WitnessedTree } from '../audit/sealed/collected-log.ts'
import { openCheckpoint, parseNoteKey } from '../audit/sealed/note.ts'
import { containOwnFault } from '../base/contained.ts'
import { sha256Hex } from '../base/digest.ts'
import { RingfenceError } from '../base/errors.ts'
import type { CollectAnswer, CollectRequest } from '../mesh/collection.ts'
import type { WitnessedLog } from '../mesh/witness.ts'
import type { Logger } from '../telemetry/log.ts'

/** Each is read, hashed and flushed; a record of 10,000 transactions a second is one in two seconds. */
const takingMax = 4
/** Of blocks without a seal, over all logs. */
const waitingBytesMax = 128 * 1024 * 1024
/** A copy that can't be gone on with is looked at so seldom: it is read from the disk, and its sidecar may ask at any rate. */
const lookedAtMs = 30_000
/** This part of the disk stays free, and no more than so much: the control plane's own database may be on it. */
const freeOf = 20
const freeBytesMax = 1_000_000_000

export interface CollectionOptions {
  readonly directory: string
  readonly witnessed: (origin: string) => WitnessedLog | undefined
  readonly log: Logger
  /** Of its disk; asked of the system where it is not given. */
  readonly room?: ((directory: string) => Promise<DiskRoom>) | undefined
  readonly nowMs?: (() => number) | undefined
}

export interface DiskRoom {
  readonly freeBytes: number
  readonly bytes: number
}

/** Which log a caller may speak of. */
export interface LogCaller {
  readonly origin: string
  /** As which it enrolled. */
  readonly proxy: string
}

interface OpenLog extends LogCaller {
  readonly key: string
  readonly log: CollectedLog
}

type Refusal = Pick<CollectAnswer, 'refused' | 'why'>

export class Collection {
  readonly #options: CollectionOptions
  /** By origin. No LRU: there is one for each sidecar that has enrolled, and it is small. */
  readonly #logs = new Map<string, OpenLog>()
  readonly #taking = new Set<string>()
  /** What was refused last of each log. */
  readonly #told = new Map<string, string>()
  /** Copies that could not be opened. */
  readonly #closed = new Map<string, Refusal & { readonly untilMs: number }>()

  constructor(options: CollectionOptions) {
    this.#options = options
  }

  async take(caller: LogCaller, request: CollectRequest): Promise<CollectAnswer> {
    const { origin } = caller
    const { segment, bytes } = request
    const known = this.#options.witnessed(origin)
    if (known?.key !== request.key) return { segment, bytes, refused: 'not witnessed' }
    const tree = openCheckpoint(known.checkpoint, parseNoteKey(known.key))
    if (tree === undefined) return { segment, bytes, refused: 'not witnessed' }
    if (this.#taking.has(origin) || this.#taking.size >= takingMax) return { segment, bytes, refused: 'busy' }
    this.#taking.add(origin)
    try {
      const answer = await this.#take(caller, request, { ...tree, note: known.checkpoint })
      if (answer.refused === undefined) this.#told.delete(origin)
      return { ...answer, witnessed: tree.size }
    } catch (reason) {
      // Of what could not be written nobody knows how much the disk has: it is read again.
      if (!(reason instanceof RingfenceError)) this.#logs.delete(origin)
      return { segment, bytes, ...this.#refusal(origin, reason) }
    } finally {
      this.#taking.delete(origin)
    }
  }

  async #take(caller: LogCaller, request: CollectRequest, known: WitnessedTree): Promise<CollectAnswer> {
    const { segment, bytes, proof = [], size = 0 } = request
    const closed = this.#closedOf(caller.origin)
    if (closed !== undefined) return { segment, bytes, ...closed }
    const log = this.#logOf(caller, request.key)
    if (!log.agrees(known)) throw new RingfenceError('UNAVAILABLE', 'the copy is not what the witness has signed')
    const { place } = log
    // A witness that was put back is shown what it does not know before anything is taken.
    if (known.size < log.size) return { ...place, refused: 'not witnessed' }
    const frames = Buffer.from(request.frames, 'base64')
    if (frames.length === 0) {
      log.publish(known)
      return place
    }
    // The beginning of a further segment is said by its name.
    const goesOn = segment === place.segment ? bytes === place.bytes : bytes === 0
    if (!goesOn || isBefore(segment, place.segment) || size !== known.size) return { ...place, refused: 'elsewhere' }
    if (!(await this.#hasRoom())) {
      const why = 'the control plane cannot keep it: its disk is full but for what it needs itself'
      return { ...place, ...this.#say(caller.origin, { refused: 'no room', why }) }
    }
    await log.take({ segment, bytes, frames, proof: proof.map((hash) => Buffer.from(hash, 'base64')) }, known)
    this.#leaveWaiting(log)
    return log.place
  }

  #logOf({ origin, proxy }: LogCaller, key: string): CollectedLog {
    const open = this.#logs.get(origin)
    if (open?.key === key && open.proxy === proxy) return open.log
    try {
      const directory = join(this.#options.directory, folderOf(origin, key))
      const log = new CollectedLog(directory, { key: parseNoteKey(key), proxy })
      this.#logs.set(origin, { origin, proxy, key, log })
      return log
    } catch (reason) {
      this.#closed.set(origin, { ...this.#refusal(origin, reason), untilMs: this.#nowMs() + lookedAtMs })
      throw reason
    }
  }

  #closedOf(origin: string): Refusal | undefined {
    const { untilMs = 0, refused, why } = this.#closed.get(origin) ?? {}
    if (untilMs > this.#nowMs()) return { refused, why }
    this.#closed.delete(origin)
    return undefined
  }

  async #hasRoom(): Promise<boolean> {
    const { directory, room = roomOf } = this.#options
    makeDirectory(directory)
    const { freeBytes, bytes } = await room(directory)
    return freeBytes > Math.min(freeBytesMax, bytes / freeOf)
  }

  /** What others sent of blocks without a seal is asked for again, where it is too much. */
  #leaveWaiting(kept: CollectedLog): void {
    const logs = [...this.#logs.values()].map(({ log }) => log)
    if (logs.reduce((sum, log) => sum + log.waitingBytes, 0) <= waitingBytesMax) return
    const taken = new Set([...this.#taking].map((origin) => this.#logs.get(origin)?.log))
    for (const log of logs) if (log !== kept && !taken.has(log)) log.leaveWaiting()
  }

  #refusal(origin: string, reason: unknown): Refusal {
    containOwnFault('the collection of a record', reason)
    const code = reason instanceof Error && 'code' in reason ? String(reason.code) : 'unknown error'
    return this.#say(
      origin,
      reason instanceof RingfenceError
        ? { refused: 'tampered', why: reason.message.slice(0, 1024) }
        : { refused: 'no room', why: `the control plane cannot keep it: ${code}` },
    )
  }

  /** It is told once for each reason. */
  #say(origin: string, refusal: Refusal): Refusal {
    const { refused, why = '' } = refusal
    if (this.#told.get(origin) !== why)
      this.#options.log.error({ origin, refused, why }, 'the record of a sidecar is not collected')
    this.#told.set(origin, why)
    return refusal
  }

  #nowMs(): number {
    return (this.#options.nowMs ?? Date.now)()
  }
}

async function roomOf(directory: string): Promise<DiskRoom> {
  const { bavail, blocks, bsize } = await statfs(directory)
  return { freeBytes: bavail * bsize, bytes: blocks * bsize }
}

/** Segments of one log sort by name: a serial number stands in it. */
function isBefore(segment: string, place: string): boolean {
  const serialIn = (name: string): number => Number(/-(\d{10})-[^-]*\.sealed$/.exec(name)?.[1] ?? -1)
  return serialIn(segment) < serialIn(place)
}

/** Of one log: by its sidecar's identity, and by its key, for a log that is begun anew is another one. */
function folderOf(origin: string, key: string): string {
  const path = origin.slice(origin.indexOf('/audit/') + '/audit/'.length)
  return `${path.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 160)}-${sha256Hex(key).slice(0, 16)}`
}
