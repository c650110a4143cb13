/** Latencies up to a second, to the microsecond; what is slower counts as a second. Adding one allocates nothing. */
export class Latencies {
  readonly #counts = new Uint32Array(1_000_001)
  count = 0

  add(ms: number): void {
    const us = (ms * 1000) | 0
    this.#counts[Math.min(us, 1_000_000)]!++
    this.count++
  }

  /** `share` from 0 to 1: so many of them were as fast as the answer or faster. */
  quantileMs(share: number): number {
    let left = Math.ceil(this.count * share)
    for (let us = 0; us < this.#counts.length; us++) {
      left -= this.#counts[us]!
      if (left <= 0) return us / 1000
    }
    return 0
  }
}

export interface LoadResult {
  readonly requests: number
  readonly seconds: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly errors: number
}

/** What a load maker reports of the measured time. */
export function resultOf(latencies: Latencies, seconds: number, errors: number): LoadResult {
  return {
    requests: latencies.count,
    seconds,
    perSecond: latencies.count / seconds,
    p50Ms: latencies.quantileMs(0.5),
    p99Ms: latencies.quantileMs(0.99),
    p999Ms: latencies.quantileMs(0.999),
    errors,
  }
}
