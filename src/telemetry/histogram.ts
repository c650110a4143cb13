/**
 * `telemetry` counts and times what the mesh does. The rule one must not break: recording allocates nothing and never fails. A name that a
 * peer gives is bounded before it becomes a row or a label.
 *
 * This file: a latency histogram with buckets that grow with the value (log-linear, as HdrHistogram's). A record is a few integer
 * operations on a typed array, and the relative error is the same everywhere.
 */

/** Values are clamped to 2^27 - 1 µs, about 134 s; a request cannot last longer (`requestTimeoutMs`). */
export const histogramMicrosMax = 2 ** 27 - 1

/**
 * What a histogram holds, for sending and adding up: index and count of each bucket that is not empty, one after the other. Percentiles of a
 * sum come from the sum of the buckets, and from nothing less.
 */
export type Buckets = readonly number[]

/** Of the usual precision. */
export const bucketsMax = 384

export class Histogram {
  readonly #bits: number
  readonly #buckets: Uint32Array
  #count = 0
  /** Buckets that are not empty stand between these: most histograms have few, and are read each second. */
  #low = 0
  #high = -1

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
    const index = this.#indexOf(value)
    this.#buckets[index]!++
    this.#count++
    this.#touch(index)
  }

  /** Adds a duration `count` times. */
  recordMany(micros: number, count: number): void {
    if (count <= 0) return
    const value = micros >= histogramMicrosMax ? histogramMicrosMax : micros > 0 ? micros | 0 : 0
    const index = this.#indexOf(value)
    this.#buckets[index]! += count
    this.#count += count
    this.#touch(index)
  }

  /** Adds what another histogram of the same precision holds. What is no bucket is left out: it may come from another process. */
  add(buckets: Buckets): void {
    for (let at = 0; at + 1 < buckets.length; at += 2) {
      const index = buckets[at]!
      const count = buckets[at + 1]!
      if (!(index >= 0 && index < this.#buckets.length && count > 0)) continue
      this.#buckets[index]! += count
      this.#count += count
      this.#touch(index)
    }
  }

  buckets(): Buckets {
    const held: number[] = []
    for (let index = this.#low; index <= this.#high; index++) {
      const count = this.#buckets[index]!
      if (count > 0) held.push(index, count)
    }
    return held
  }

  /** The value in microseconds that `percent` (above 0, at most 100) of all values do not exceed; 0 when there is none. */
  percentile(percent: number): number {
    const rank = Math.max(1, Math.ceil((percent / 100) * this.#count))
    let seen = 0
    for (let index = this.#low; index <= this.#high; index++) {
      seen += this.#buckets[index]!
      if (seen >= rank) return this.#middleOf(index)
    }
    return 0
  }

  reset(): void {
    this.#buckets.fill(0, this.#low, this.#high + 1)
    this.#count = 0
    this.#low = 0
    this.#high = -1
  }

  #touch(index: number): void {
    if (this.#high < 0) {
      this.#low = index
      this.#high = index
    } else if (index < this.#low) this.#low = index
    else if (index > this.#high) this.#high = index
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
