/**
 * A rate with a burst. The clock is the caller's: microseconds that only ever grow.
 */
export class TokenBucket {
  readonly #burstMax: number
  readonly #perMicro: number
  #tokens: number
  #filledMicros = 0

  /** Full at first. At most `burstMax` tokens at any time, `perSecond` more each second. */
  constructor(burstMax: number, perSecond: number) {
    this.#burstMax = burstMax
    this.#perMicro = perSecond / 1_000_000
    this.#tokens = burstMax
  }

  /** Takes one token; false where none is whole, and then none is taken. */
  take(nowMicros: number): boolean {
    if (this.isEmpty(nowMicros)) return false
    this.#tokens -= 1
    return true
  }

  /** One that was taken counts as not taken. */
  giveBack(): void {
    this.#tokens = Math.min(this.#burstMax, this.#tokens + 1)
  }

  /** No token is whole. */
  isEmpty(nowMicros: number): boolean {
    if (nowMicros > this.#filledMicros) {
      this.#tokens = Math.min(this.#burstMax, this.#tokens + (nowMicros - this.#filledMicros) * this.#perMicro)
      this.#filledMicros = nowMicros
    }
    return this.#tokens < 1
  }
}
