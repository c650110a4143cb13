/** Counts by words of a closed set, which the type names: nothing that a peer sends becomes a word of it. */
export class Tally<Word extends string> {
  readonly #counts = new Map<Word, number>()

  /** @param words that are there from the beginning, with 0, so that the first count is seen as a rise */
  constructor(words: readonly Word[] = []) {
    for (const word of words) this.#counts.set(word, 0)
  }

  count(word: Word): void {
    this.#counts.set(word, (this.#counts.get(word) ?? 0) + 1)
  }

  of(word: Word): number {
    return this.#counts.get(word) ?? 0
  }

  [Symbol.iterator](): IterableIterator<[Word, number]> {
    return this.#counts.entries()
  }
}
