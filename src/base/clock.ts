/**
 * Time, handed in as a parameter wherever it decides something, so that tests can turn it.
 */
export interface Clock {
  /** Milliseconds since 1970, for certificates and records. */
  now(): number
  /** Milliseconds that only ever grow, for deadlines and latencies. */
  monotonic(): number
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
}

/** A clock that stands still until told otherwise. */
export class ManualClock implements Clock {
  #nowMs: number

  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs
  }

  now(): number {
    return this.#nowMs
  }

  monotonic(): number {
    return this.#nowMs
  }

  advance(ms: number): void {
    this.#nowMs += ms
  }
}
