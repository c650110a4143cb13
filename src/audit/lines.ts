/**
 * Lines gathered as bytes, in one piece of memory that is used again. Most records are put together here from parts that are bytes
 * already: a string of them all would have to be flattened, measured and encoded for every turn.
 *
 * Rule: the caller asks for room first; nothing here grows, and nothing is cut.
 */
import { assert } from '../base/errors.ts'

/** Shorter parts are copied byte by byte, which is cheaper than a call. */
const loopBytesMax = 24
const zero = 0x30

export class LineBuffer {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytesMax: number) {
    this.#bytes = Buffer.allocUnsafeSlow(bytesMax)
  }

  get length(): number {
    return this.#at
  }

  hasRoom(bytes: number): boolean {
    return this.#at + bytes <= this.#bytes.length
  }

  /** What is gathered, borrowed until the next line; the buffer is empty after. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#at)
    this.#at = 0
    return taken
  }

  text(part: string): void {
    this.#at += this.#bytes.write(part, this.#at)
  }

  bytes(part: Buffer): void {
    const { length } = part
    const at = this.#at
    assert(at + length <= this.#bytes.length, 'there is room for a part of a line')
    if (length > loopBytesMax) part.copy(this.#bytes, at)
    else for (let i = 0; i < length; i++) this.#bytes[at + i] = part[i]!
    this.#at = at + length
  }

  /** The same bytes once more as stand from `from` on, in what is gathered. */
  repeat(from: number, length: number): void {
    const at = this.#at
    assert(from + length <= at && at + length <= this.#bytes.length, 'there is room for what is repeated')
    this.#bytes.copy(this.#bytes, at, from, from + length)
    this.#at = at + length
  }

  /** Adds to the number whose last digit is the byte before `end`. The caller knows that the sum has no more digits. */
  addTo(end: number, summand: number): void {
    let carry = summand
    for (let at = end - 1; carry > 0; at--) {
      const digit = this.#bytes[at]! - zero + carry
      carry = Math.trunc(digit / 10)
      this.#bytes[at] = zero + digit - carry * 10
    }
  }

  /** Decimal digits; a fraction is cut off. What is no finite number is 0, since JSON has no word for it. */
  number(value: number): void {
    const whole = value | 0
    // Beyond 32 bits and below zero: seldom, and then by the way that is slow and sure.
    if (whole < 0 || value >= 2 ** 31 || !(value > -1)) {
      this.text(Number.isFinite(value) ? String(Math.trunc(value)) : '0')
      return
    }
    let digits = 1
    for (let power = 10; power <= whole; power *= 10) digits++
    let left = whole
    for (let at = this.#at + digits; at > this.#at; ) {
      const tenth = (left / 10) | 0
      this.#bytes[--at] = zero + left - tenth * 10
      left = tenth
    }
    this.#at += digits
  }
}
