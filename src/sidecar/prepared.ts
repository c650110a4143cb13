/**
 * The prepared statements of one identity. An id means something only to the identity that prepared it, whatever the node thinks
 * of it (attacks B1 to B8): a stranger's id is UNPREPARED.
 *
 * The node has one cache for everyone, so what an identity adds to it is bounded by a rate (attack B9): a flood of statements that differ
 * in their literals would push out what others prepared. What the identity has there already costs nothing, for drivers prepare again on
 * each new connection and after each restart.
 */
import { TokenBucket } from '../base/bucket.ts'
import { limits } from '../base/limits.ts'
import { type PreparedEntry, PreparedIds } from '../cql/prepared-ids.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import type { Judged } from './statement.ts'
import { bytesOf } from './statement-memory.ts'

export interface Prepared extends PreparedEntry {
  readonly judged: Judged
  /** A digest of what clients were told of its markers and columns: in other words on each version of the protocol. */
  readonly columnDigests: Map<ProtocolVersion, string>
  /** The next of those whose text is the same. */
  nextOfText: Prepared | undefined
}

/** In the record: more new statements than an identity may have prepared. */
export const prepareRateRule = 'prepare-rate'

export class PreparedTable {
  #ids = new PreparedIds<Prepared>(limits.preparedPerIdentityMax, (gone) => this.#gone(gone))
  /** See `bytesOf`. */
  #bytes = 0
  readonly #bytesMax: number
  readonly #onBytes: (more: number) => void
  readonly #byText = new Map<string, Prepared>()
  readonly #newOnes = new TokenBucket(limits.preparesBurstMax, limits.preparesPerSecondMax)
  #lender: PreparedTable | undefined
  #again: (judged: Judged) => Judged = (judged) => judged

  /** `onBytes` is told how much more it weighs, or less. */
  constructor(bytesMax = Number.POSITIVE_INFINITY, onBytes: (more: number) => void = () => {}) {
    this.#bytesMax = bytesMax
    this.#onBytes = onBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** What the node is asked to execute is then unknown, and the driver prepares it again. */
  clear(): void {
    this.#ids = new PreparedIds<Prepared>(limits.preparedPerIdentityMax, (gone) => this.#gone(gone))
    this.#byText.clear()
    this.#onBytes(-this.#bytes)
    this.#bytes = 0
  }

  get size(): number {
    return this.#ids.size
  }

  /**
   * Whether the node may be asked to prepare this; where not, the request is shed. A statement that is asked for on many connections
   * before the first answer counts once.
   */
  admits(judged: Judged, nowMicros: number): boolean {
    if (!judged.asked && !this.#has(judged) && !(this.#lender ?? this).#newOnes.take(nowMicros)) return false
    judged.asked = true
    return true
  }

  find(buffer: Buffer, start: number, end: number): Prepared | undefined {
    return this.#ids.find(buffer, start, end) ?? this.#lent(buffer, start, end)
  }

  /**
   * What is prepared in `lender` may be executed by this identity, too, which is the same workload with a person behind it: drivers prepare without
   * saying for whom. `again` gives the same statement undecided, so that nothing that was decided for the workload is good here. The node's
   * cache is filled at the workload's rate.
   */
  lend(lender: PreparedTable, again: (judged: Judged) => Judged): void {
    this.#lender = lender
    this.#again = again
  }

  #lent(buffer: Buffer, start: number, end: number): Prepared | undefined {
    const theirs = this.#lender?.find(buffer, start, end)
    if (theirs === undefined) return undefined
    // What clients are told of its columns is one thing for both.
    return this.set(theirs.id, this.#again(theirs.judged), theirs.columnDigests)
  }

  /** Remembers `judged` under the node's id, in the place of what stood there; undefined for an id that is none. */
  set(
    id: Buffer,
    judged: Judged,
    columnDigests = this.#ids.find(id, 0, id.length)?.columnDigests ?? new Map<ProtocolVersion, string>(),
  ): Prepared | undefined {
    const entry: Prepared = {
      id: Buffer.from(id),
      judged,
      columnDigests,
      lastUse: 0,
      next: undefined,
      nextOfText: undefined,
    }
    if (!this.#ids.set(entry)) return undefined
    entry.nextOfText = this.#byText.get(judged.text)
    this.#byText.set(judged.text, entry)
    const bytes = bytesOf(judged)
    this.#bytes += bytes
    this.#onBytes(bytes)
    // No LRU: prepared ids have one of their own, for ids that lie in bytes.
    while (this.#bytes > this.#bytesMax && this.#ids.size > 1) this.#ids.forgetOldest()
    return entry
  }

  #gone(gone: Prepared): void {
    const { bytes } = gone.judged
    this.#bytes -= bytes
    this.#onBytes(-bytes)
    this.#deleteText(gone)
  }

  #deleteText(gone: Prepared): void {
    const { text } = gone.judged
    let before: Prepared | undefined
    for (let each = this.#byText.get(text); each !== gone && each !== undefined; each = each.nextOfText) before = each
    if (before !== undefined) before.nextOfText = gone.nextOfText
    else if (gone.nextOfText !== undefined) this.#byText.set(text, gone.nextOfText)
    else this.#byText.delete(text)
  }

  /** One text is several statements where the keyspace in force decides what it means. */
  #has({ text, keyspace }: Judged): boolean {
    for (let each = this.#byText.get(text); each !== undefined; each = each.nextOfText) {
      if (!each.judged.keyspaceCounts || each.judged.keyspace === keyspace) return true
    }
    return false
  }
}
