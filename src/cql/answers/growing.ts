/** Memory that an answer is written into when its new length is not known before. */
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'

export class Growing {
  buf: Buffer
  at = 0
  readonly #bytesMax: number

  /** @param bytes what is probably needed */
  constructor(bytes: number, bytesMax: number = limits.answerBytesMax) {
    this.buf = Buffer.allocUnsafe(bytes)
    this.#bytesMax = bytesMax
  }

  /** Makes room for `bytes` and answers where they start. TOO_LARGE above the bound of an answer. */
  room(bytes: number): number {
    const at = this.at
    const wanted = at + bytes
    if (wanted > this.buf.length) {
      if (wanted > this.#bytesMax) {
        throw new RingfenceError('TOO_LARGE', `the changed answer is longer than ${this.#bytesMax} bytes`)
      }
      const grown = Buffer.allocUnsafe(Math.min(Math.max(wanted, Math.ceil(this.buf.length * 1.5)), this.#bytesMax))
      this.buf.copy(grown, 0, 0, at)
      this.buf = grown
    }
    this.at = wanted
    return at
  }

  int(n: number): void {
    const at = this.room(4)
    this.setInt(at, n)
  }

  setInt(at: number, n: number): void {
    const { buf } = this
    buf[at] = n >> 24
    buf[at + 1] = n >> 16
    buf[at + 2] = n >> 8
    buf[at + 3] = n
  }

  copy(from: Buffer, start: number, end: number): void {
    if (start === end) return
    const at = this.room(end - start)
    from.copy(this.buf, at, start, end)
  }

  /** What was written; no copy. */
  written(): Buffer {
    return this.buf.subarray(0, this.at)
  }
}
