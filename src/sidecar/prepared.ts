/**
 * The prepared statements of one identity. An id means something only to the identity that prepared it, whatever the node thinks
 * of it (data-access traps 12 to 22): a stranger's id is UNPREPARED.
 *
 * The node has one cache for everyone, so what an identity adds to it is bounded by a rate (attack B9): a flood of statements that differ
 * in their literals would push out what others prepared. What the identity has there already costs nothing, for drivers prepare again on
 * each new connection and after each restart.
 *
 * Ids are the node's own 16 bytes, looked up by four of them as a number, so that no string is made on the fast path.
 */
import { TokenBucket } from '../base/bucket.ts'
import { limits } from '../base/limits.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import type { Judged } from './judged.ts'

export interface Prepared {
  /** The node's id, 16 bytes. */
  readonly id: Buffer
  readonly judged: Judged
  /** A digest of what clients were told of its markers and columns: in other words on each version of the protocol. */
  readonly told: Map<ProtocolVersion, string>
  /** Counts up with use, for choosing whom to forget. */
  lastUse: number
  /** The next of those whose ids begin alike. */
  next: Prepared | undefined
  /** The next of those whose text is the same. */
  nextOfText: Prepared | undefined
}

export const PREPARED_ID_BYTES = 16

/** In the record: more new statements than an identity may have prepared. */
export const prepareRateRule = 'prepare-rate'

export class PreparedTable {
  readonly #byHash = new Map<number, Prepared>()
  readonly #byText = new Map<string, Prepared>()
  readonly #newOnes = new TokenBucket(limits.preparesBurstMax, limits.preparesPerSecondMax)
  #size = 0
  #uses = 0

  get size(): number {
    return this.#size
  }

  /**
   * Whether the node may be asked to prepare this; where not, the request is shed. A statement that is asked for on many connections
   * before the first answer counts once.
   */
  admits(judged: Judged, nowMicros: number): boolean {
    if (!judged.asked && !this.#has(judged) && !this.#newOnes.take(nowMicros)) return false
    judged.asked = true
    return true
  }

  find(buffer: Buffer, start: number, end: number): Prepared | undefined {
    if (end - start !== PREPARED_ID_BYTES) return undefined
    for (let each = this.#byHash.get(buffer.readInt32LE(start)); each !== undefined; each = each.next) {
      if (isSameId(each.id, buffer, start)) {
        each.lastUse = ++this.#uses
        return each
      }
    }
    return undefined
  }

  /** Remembers `judged` under the node's id, in the place of what stood there; undefined for an id that is none. */
  set(id: Buffer, judged: Judged): Prepared | undefined {
    if (id.length !== PREPARED_ID_BYTES) return undefined
    const told = this.#delete(id)?.told ?? new Map<ProtocolVersion, string>()
    if (this.#size >= limits.preparedPerIdentityMax) this.#forgetOldest()
    const hash = id.readInt32LE(0)
    const next = this.#byHash.get(hash)
    const nextOfText = this.#byText.get(judged.text)
    const prepared = { id: Buffer.from(id), judged, told, lastUse: ++this.#uses, next, nextOfText }
    this.#byHash.set(hash, prepared)
    this.#byText.set(judged.text, prepared)
    this.#size++
    return prepared
  }

  #delete(id: Buffer): Prepared | undefined {
    const hash = id.readInt32LE(0)
    const first = this.#byHash.get(hash)
    let before: Prepared | undefined
    for (let each = first; each !== undefined; before = each, each = each.next) {
      if (!each.id.equals(id)) continue
      if (before !== undefined) before.next = each.next
      else if (each.next !== undefined) this.#byHash.set(hash, each.next)
      else this.#byHash.delete(hash)
      this.#deleteText(each)
      this.#size--
      return each
    }
    return undefined
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

  /** A tenth at a time, so that a flood of statements does not sort the table for each of them. */
  #forgetOldest(): void {
    const all: Prepared[] = []
    for (const first of this.#byHash.values()) {
      for (let each: Prepared | undefined = first; each !== undefined; each = each.next) all.push(each)
    }
    all.sort((a, b) => a.lastUse - b.lastUse)
    for (const old of all.slice(0, Math.ceil(all.length / 10))) this.#delete(old.id)
  }
}

/** Byte by byte: for sixteen of them that is cheaper than a call out of JavaScript. */
function isSameId(id: Buffer, buffer: Buffer, start: number): boolean {
  for (let i = 0; i < PREPARED_ID_BYTES; i++) if (id[i] !== buffer[start + i]) return false
  return true
}
