/**
 * A queue whose first is taken in the same time however long it is. `shift` of an array of more than some ten thousand moves all that is left:
 * 10 to 30 µs each.
 */

/** The array is made anew when it has so many places of items that were taken, and these are half of it. */
const takenMax = 1024

export class Fifo<T extends {}> {
  /** What waits begins at `#next`. */
  #items: (T | undefined)[] = []
  #next = 0

  get length(): number {
    return this.#items.length - this.#next
  }

  /** The first, which stays. */
  get first(): T | undefined {
    return this.#items[this.#next]
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** Before the first. Who was taken last and comes back has its own place still. */
  unshift(item: T): void {
    if (this.#next > 0) this.#items[--this.#next] = item
    else this.#items.unshift(item)
  }

  /** The first, which is taken. */
  shift(): T | undefined {
    if (this.#next === this.#items.length) return undefined
    const item = this.#items[this.#next]
    this.#items[this.#next++] = undefined
    if (this.#next === this.#items.length) this.clear()
    else if (this.#next >= takenMax && this.#next * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#next - 1)
      this.#next = 1
    }
    return item
  }

  clear(): void {
    this.#items.length = 0
    this.#next = 0
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let at = this.#next; at < this.#items.length; at++) yield this.#items[at]!
  }
}
