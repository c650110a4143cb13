/**
 * One client connection, from its first byte to its last: listener, PROXY header, TLS, handshake, state machine, and the
 * buffers in both directions. It never decides access; it hands whole, uncompressed envelopes to a `Backend`.
 *
 * This file: the end of a turn of the event loop. Everything that was written in a turn leaves in one go, the record first.
 */

/** Something with bytes to hand on at the end of the turn. */
export interface Flushable {
  flushTurn(): void
}

/**
 * Collects what has something to flush and flushes it once per turn of the event loop.
 * Invariant: `first` (the audit record) runs before any socket is written, so that nothing leaves unrecorded.
 */
export class Turn {
  #waiting: Flushable[] = []
  #flushing: Flushable[] = []
  #armed = false
  #first: (() => void) | undefined
  readonly #run = (): void => this.#flush()
  /** Monotonic microseconds, read once per turn. */
  #nowMicros = 0
  #nowKnown = false

  /** Sets what runs before the sockets are written. */
  before(first: () => void): void {
    this.#first = first
  }

  /** The caller keeps a flag of its own so that it is added once per turn. */
  add(what: Flushable): void {
    this.#waiting.push(what)
    this.wake()
  }

  /** Makes sure that this turn has an end, so that `first` runs. */
  wake(): void {
    if (this.#armed) return
    this.#armed = true
    setImmediate(this.#run)
  }

  /** Microseconds for latencies: one clock reading per turn. */
  nowMicros(): number {
    if (!this.#nowKnown) {
      this.#nowMicros = performance.now() * 1000
      this.#nowKnown = true
      this.wake()
    }
    return this.#nowMicros
  }

  #flush(): void {
    this.#armed = false
    this.#nowKnown = false
    this.#first?.()
    const now = this.#waiting
    this.#waiting = this.#flushing
    this.#flushing = now
    for (const what of now) what.flushTurn()
    now.length = 0
  }
}
