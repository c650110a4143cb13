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
