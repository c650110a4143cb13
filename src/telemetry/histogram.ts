/**
 * `telemetry` counts and times what the mesh does. The rule one must not break: recording allocates nothing and never fails, and what is
 * named by a peer is bounded before it becomes a row or a label.
 *
 * This file: a latency histogram with buckets that grow with the value (log-linear, as HdrHistogram's), so that a record is a few
 * integer operations on a typed array and the relative error is the same everywhere.
 */

/** Values are clamped to 2^27 - 1 µs, about 134 s; a request cannot last longer (`requestTimeoutMs`). */
export const histogramMicrosMax = 2 ** 27 - 1

export class Histogram {
  readonly #bits: number
  readonly #buckets: Uint32Array
  #count = 0

  /** `precisionBits` p: 2^p buckets for each doubling, so an answer is off by at most 1 / 2^(p+1) of the value. */
  constructor(precisionBits = 4) {
    this.#bits = precisionBits
    this.#buckets = new Uint32Array(this.#indexOf(histogramMicrosMax) + 1)
  }

  get count(): number {
    return this.#count
  }

  /** Adds a duration in microseconds; a fraction is cut off, what is negative or no number counts as 0. */
  record(micros: number): void {
    const value = micros >= histogramMicrosMax ? histogramMicrosMax : micros > 0 ? micros | 0 : 0
    this.#buckets[this.#indexOf(value)]!++
    this.#count++
  }

  /** The value in microseconds that `percent` (above 0, at most 100) of all values do not exceed; 0 when there is none. */
  percentile(percent: number): number {
    const rank = Math.max(1, Math.ceil((percent / 100) * this.#count))
    let seen = 0
    for (let index = 0; index < this.#buckets.length; index++) {
      seen += this.#buckets[index]!
      if (seen >= rank) return this.#middleOf(index)
    }
    return 0
  }

  reset(): void {
    this.#buckets.fill(0)
    this.#count = 0
  }

  // Below 2^(bits+1) each value has a bucket. Above, a value keeps its leading bits + 1 bits and the shift says which doubling it is in.
  #indexOf(value: number): number {
    const shift = Math.max(0, 31 - Math.clz32(value) - this.#bits)
    return (shift << this.#bits) + (value >>> shift)
  }

  #middleOf(index: number): number {
    const shift = Math.max(0, (index >>> this.#bits) - 1)
    const lowest = (index - (shift << this.#bits)) << shift
    return lowest + ((1 << shift) >>> 1)
  }
}
