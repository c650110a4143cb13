/**
 * What waits, in a queue for each of those by whom it waits. The queues take turns, so that whoever has much waits behind its own.
 */
import { Fifo } from './fifo.ts'

export class FairQueue<Who, T extends {}> {
  /** None is empty. Whose turn it was last stands last. */
  readonly #queues = new Map<Who, Fifo<T>>()
  #length = 0

  get length(): number {
    return this.#length
  }

  lengthOf(who: Who): number {
    return this.#queues.get(who)?.length ?? 0
  }

  push(who: Who, item: T): void {
    this.#of(who).push(item)
    this.#length++
  }

  /** Before all else that waits by the same. */
  unshift(who: Who, item: T): void {
    this.#of(who).unshift(item)
    this.#length++
  }

  /** The first of whoever's turn it is, and may be served. */
  shift(may: (who: Who) => boolean = () => true): { readonly who: Who; readonly item: T } | undefined {
    for (const [who, queue] of this.#queues) {
      if (!may(who)) continue
      const item = queue.shift()!
      this.#queues.delete(who)
      if (queue.length > 0) this.#queues.set(who, queue)
      this.#length--
      return { who, item }
    }
    return undefined
  }

  #of(who: Who): Fifo<T> {
    let queue = this.#queues.get(who)
    if (queue === undefined) {
      queue = new Fifo()
      this.#queues.set(who, queue)
    }
    return queue
  }
}
