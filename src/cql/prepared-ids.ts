/**
 * Prepared ids of 16 bytes and what they stand for, looked up by four of the bytes as a number, so that no string is made on the
 * fast path. Bounded: the least recently used go first.
 */

export const preparedIdBytes = 16

/** What an entry needs for its place in the table; kept by the table. */
export interface PreparedEntry {
  /** 16 bytes. */
  readonly id: Buffer
  /** Counts up with use, for choosing whom to forget. */
  lastUse: number
  /** The next of those whose ids begin alike. */
  next: this | undefined
}

export class PreparedIds<T extends PreparedEntry> {
  readonly #byHash = new Map<number, T>()
  readonly #entriesMax: number
  readonly #onGone: (entry: T) => void
  #size = 0
  #uses = 0

  /** `onGone` is told of each entry that leaves, for whatever reason. */
  constructor(entriesMax: number, onGone: (entry: T) => void = () => {}) {
    this.#entriesMax = entriesMax
    this.#onGone = onGone
  }

  get size(): number {
    return this.#size
  }

  /** The entry of the id `buffer[start..end)`. */
  find(buffer: Buffer, start: number, end: number): T | undefined {
    if (end - start !== preparedIdBytes) return undefined
    for (let each = this.#byHash.get(buffer.readInt32LE(start)); each !== undefined; each = each.next) {
      if (isSameId(each.id, buffer, start)) {
        each.lastUse = ++this.#uses
        return each
      }
    }
    return undefined
  }

  /** Puts `entry` in the place of what stood under its id. False, and nothing, for an id that is not of sixteen bytes. */
  set(entry: T): boolean {
    if (entry.id.length !== preparedIdBytes) return false
    this.#delete(entry.id)
    if (this.#size >= this.#entriesMax) this.#forgetOldest()
    const hash = entry.id.readInt32LE(0)
    entry.next = this.#byHash.get(hash)
    entry.lastUse = ++this.#uses
    this.#byHash.set(hash, entry)
    this.#size++
    return true
  }

  /** A tenth of them, those that were used least recently. */
  forgetOldest(): void {
    this.#forgetOldest()
  }

  #delete(id: Buffer): void {
    const hash = id.readInt32LE(0)
    const first = this.#byHash.get(hash)
    let before: T | undefined
    for (let each = first; each !== undefined; before = each, each = each.next) {
      if (!each.id.equals(id)) continue
      if (before !== undefined) before.next = each.next
      else if (each.next !== undefined) this.#byHash.set(hash, each.next)
      else this.#byHash.delete(hash)
      this.#size--
      this.#onGone(each)
      return
    }
  }

  /** A tenth at a time, so that a flood of statements does not sort the table for each of them. */
  #forgetOldest(): void {
    const all: T[] = []
    for (const first of this.#byHash.values()) {
      for (let each: T | undefined = first; each !== undefined; each = each.next) all.push(each)
    }
    all.sort((a, b) => a.lastUse - b.lastUse)
    for (const old of all.slice(0, Math.ceil(all.length / 10))) this.#delete(old.id)
  }
}

/** Byte by byte: for sixteen of them that is cheaper than a call out of JavaScript. */
function isSameId(id: Buffer, buffer: Buffer, start: number): boolean {
  for (let i = 0; i < preparedIdBytes; i++) if (id[i] !== buffer[start + i]) return false
  return true
}
