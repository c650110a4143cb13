/**
 * Frames gathered as bytes, in one piece of memory that is used again. They stay until their block is sealed, which hashes them in one go.
 *
 * Rule: the caller asks for room first; nothing here grows.
 */
import { assert } from '../../base/errors.ts'
import { frameBytesMax, frameLengthBytes } from './format.ts'

export class FrameBuffer {
  readonly bytes: Buffer
  at = 0
  #frameAt = 0

  constructor(bytesMax: number) {
    this.bytes = Buffer.allocUnsafeSlow(bytesMax)
  }

  /** For `frames` of any length. */
  hasRoom(frames: number): boolean {
    return this.at + frames * (frameBytesMax + frameLengthBytes) <= this.bytes.length
  }

  begin(kind: number): void {
    this.#frameAt = this.at
    this.bytes[this.at + frameLengthBytes] = kind
    this.at += frameLengthBytes + 1
  }

  end(): void {
    const length = this.at - this.#frameAt - frameLengthBytes
    assert(length <= frameBytesMax, 'a frame is no longer than its length can say')
    this.bytes[this.#frameAt] = length >> 8
    this.bytes[this.#frameAt + 1] = length & 0xff
  }

  /** A whole frame. */
  json(kind: number, value: object): void {
    this.begin(kind)
    this.text(JSON.stringify(value))
    this.end()
  }

  byte(value: number): void {
    this.bytes[this.at++] = value
  }

  /** Seven bits a byte, the lowest first. Fractions are cut off; what is below zero or no number is 0. */
  number(value: number): void {
    const { bytes } = this
    let at = this.at
    let left = value
    if (!(left < 2 ** 31)) {
      left = Number.isFinite(left) ? Math.trunc(left) : 0
      for (; left >= 2 ** 31; left = Math.floor(left / 128)) bytes[at++] = (left % 128) | 0x80
    }
    let small = left > 0 ? left | 0 : 0
    for (; small >= 128; small >>>= 7) bytes[at++] = (small & 0x7f) | 0x80
    bytes[at++] = small
    this.at = at
  }

  text(text: string): void {
    this.at += this.bytes.write(text, this.at)
  }

  /** A text with its length before it. */
  lengthAndText(text: string): void {
    this.number(Buffer.byteLength(text))
    this.text(text)
  }

  milliseconds(value: number): void {
    this.bytes.writeUIntBE(value, this.at, 6)
    this.at += 6
  }

  copy(from: Buffer): void {
    from.copy(this.bytes, this.at)
    this.at += from.length
  }
}
