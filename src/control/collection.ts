/**
 * The sidecars' sealed records, collected: a folder with a folder for each log, which is a log itself.
 *
 * Rule: a log is collected where the witness knows its key, and only what goes on from what the witness signed. At most so many pieces are
 * taken at once; who comes beside them is told to come later.
 */
import { join } from 'node:path'
import { CollectedLog } from '../audit/sealed/collected-log.ts'
import { openCheckpoint, parseNoteKey } from '../audit/sealed/note.ts'
import { containOwnFault } from '../base/contained.ts'
import { sha256Hex } from '../base/digest.ts'
import { RingfenceError } from '../base/errors.ts'
import type { CollectAnswer, CollectRequest } from '../mesh/collection.ts'
import type { WitnessedLog } from '../mesh/witness.ts'
import type { Logger } from '../telemetry/log.ts'

/** Each is read, hashed and flushed; a record of 10,000 transactions a second is one in two seconds. */
const takingMax = 4

export interface CollectionOptions {
  readonly directory: string
  readonly witnessed: (origin: string) => WitnessedLog | undefined
  readonly log: Logger
}

export class Collection {
  readonly #options: CollectionOptions
  /** By origin. No LRU: there is one for each sidecar that has enrolled, and it is small. */
  readonly #logs = new Map<string, { readonly key: string; readonly log: CollectedLog }>()
  readonly #taking = new Set<string>()
  /** What was refused last of each log. */
  readonly #refused = new Map<string, string>()

  constructor(options: CollectionOptions) {
    this.#options = options
  }

  /** @param origin which log this caller may speak of */
  async take(origin: string, request: CollectRequest): Promise<CollectAnswer> {
    const { segment, bytes } = request
    const known = this.#options.witnessed(origin)
    if (known?.key !== request.key) return { segment, bytes, refused: 'not witnessed' }
    if (this.#taking.has(origin) || this.#taking.size >= takingMax) return { segment, bytes, refused: 'busy' }
    this.#taking.add(origin)
    try {
      const answer = await this.#take(origin, request, known)
      this.#refused.delete(origin)
      return answer
    } catch (reason) {
      // What is in memory may be ahead of the disk: it is read again.
      this.#logs.delete(origin)
      return { segment, bytes, ...this.#refusal(origin, reason) }
    } finally {
      this.#taking.delete(origin)
    }
  }

  async #take(origin: string, request: CollectRequest, known: WitnessedLog): Promise<CollectAnswer> {
    const log = this.#logOf(origin, request.key)
    mustAgree(log, known)
    const { segment, bytes } = request
    const frames = Buffer.from(request.frames, 'base64')
    if (frames.length === 0) return log.place
    const { place } = log
    // The beginning of a further segment is said by its name.
    const goesOn = segment === place.segment ? bytes === place.bytes : bytes === 0
    if (!goesOn || isBefore(segment, place.segment)) return { ...place, refused: 'elsewhere' }
    await log.take({ segment, bytes }, frames)
    mustAgree(log, known)
    return log.place
  }

  #logOf(origin: string, key: string): CollectedLog {
    const open = this.#logs.get(origin)
    if (open?.key === key) return open.log
    const log = new CollectedLog(join(this.#options.directory, folderOf(origin, key)), parseNoteKey(key))
    this.#logs.set(origin, { key, log })
    return log
  }

  /** It is told once for each reason. */
  #refusal(origin: string, reason: unknown): Pick<CollectAnswer, 'refused' | 'why'> {
    containOwnFault('the collection of a record', reason)
    const code = reason instanceof Error && 'code' in reason ? String(reason.code) : 'unknown error'
    const isTampered = reason instanceof RingfenceError
    const refused = isTampered ? 'tampered' : 'no room'
    const why = isTampered ? reason.message : `the control plane cannot keep it: ${code}`
    if (this.#refused.get(origin) !== why) {
      this.#options.log.error({ origin, refused, why }, 'the record of a sidecar is not collected')
      this.#refused.set(origin, why)
    }
    return { refused, why: why.slice(0, 1024) }
  }
}

/** Segments of one log sort by name: a serial number stands in it. */
function isBefore(segment: string, place: string): boolean {
  const serialIn = (name: string): number => Number(/-(\d{10})-[^-]*\.sealed$/.exec(name)?.[1] ?? -1)
  return serialIn(segment) < serialIn(place)
}

/** @throws RingfenceError UNAVAILABLE where the copy is not what was witnessed */
function mustAgree(log: CollectedLog, { key, checkpoint }: WitnessedLog): void {
  const known = openCheckpoint(checkpoint, parseNoteKey(key))
  if (known === undefined || log.agrees(known)) return
  throw new RingfenceError('UNAVAILABLE', 'it is not what the witness has signed')
}

/** Of one log: by its sidecar's identity, and by its key, for a log that is begun anew is another one. */
function folderOf(origin: string, key: string): string {
  const path = origin.slice(origin.indexOf('/audit/') + '/audit/'.length)
  return `${path.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 160)}-${sha256Hex(key).slice(0, 16)}`
}
