/** How many of each: what has none takes no place. */
export class Counts<Key> {
  readonly #of = new Map<Key, number>()

  of(key: Key): number {
    return this.#of.get(key) ?? 0
  }

  more(key: Key): void {
    this.#of.set(key, this.of(key) + 1)
  }

  less(key: Key): void {
    const left = this.of(key) - 1
    if (left > 0) this.#of.set(key, left)
    else this.#of.delete(key)
  }

  [Symbol.iterator](): Iterator<[Key, number]> {
    return this.#of[Symbol.iterator]()
  }
}
