/**
 * Who may write to a connection of the node that takes its bytes slowly. The bytes of one identity must not hold up those of all others.
 *
 * Rule: once more than `upstreamHighWaterBytes` wait, an identity adds at most `upstreamShareBytes` until the node has taken all.
 */
import { RingfenceError } from '../base/errors.ts'
import { Fifo } from '../base/fifo.ts'
import { limits } from '../base/limits.ts'

interface Waiter {
  readonly resolve: () => void
  readonly reject: (reason: RingfenceError) => void
  readonly sinceMicros: number
}

export class NodeShares {
  /** What each identity has added; emptied when the node has taken all, so it holds no more than those who write here. */
  readonly #shares = new Map<object, number>()
  /** Oldest first. */
  readonly #waiters: Fifo<Waiter> = new Fifo()

  /** @param waitingBytes what the node has not taken yet, of all */
  mayWrite(who: object, bytes: number, waitingBytes: number): boolean {
    if (waitingBytes + bytes <= limits.upstreamHighWaterBytes) return true
    const before = this.#shares.get(who) ?? 0
    const fits = before === 0 || before + bytes <= limits.upstreamShareBytes
    // Whoever was refused waits in `room`, also where a smaller request would fit: else it would be let go and refused for ever.
    this.#shares.set(who, fits ? before + bytes : limits.upstreamShareBytes)
    return fits
  }

  /** Resolves when `who` may write again. Throws OVERLOADED where the node takes nothing for `requestTimeoutMs`. */
  room(who: object): Promise<void> {
    if ((this.#shares.get(who) ?? 0) < limits.upstreamShareBytes) return Promise.resolve()
    const sinceMicros = performance.now() * 1000
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject, sinceMicros }))
  }

  /** The node has taken all. */
  drained(): void {
    this.#shares.clear()
    this.letGo()
  }

  /** Whoever waits tries again. */
  letGo(): void {
    const waiters = [...this.#waiters]
    this.#waiters.clear()
    for (const { resolve } of waiters) resolve()
  }

  /** Refuses those who wait since before then. */
  expire(beforeMicros: number): void {
    while ((this.#waiters.first?.sinceMicros ?? Infinity) < beforeMicros) {
      this.#waiters.shift()?.reject(new RingfenceError('OVERLOADED', 'the node does not take requests now'))
    }
  }
}
