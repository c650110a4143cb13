/** Frames, read: where each begins and ends, and the numbers in it. Nothing is believed of their lengths. */
import { frameLengthBytes } from './format.ts'

/** Where the frame that begins at `at` ends; −1 where it is not whole. */
export function frameEnd(bytes: Buffer, at: number): number {
  if (at + frameLengthBytes >= bytes.length) return -1
  const end = at + frameLengthBytes + ((bytes[at]! << 8) | bytes[at + 1]!)
  return end > bytes.length || end === at + frameLengthBytes ? -1 : end
}

export function kindAt(bytes: Buffer, at: number): number {
  return bytes[at + frameLengthBytes]!
}

/** What a frame holds behind its kind, number by number. Reads 0 beyond its end. */
export class FrameReader {
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0
  #end = 0

  use(bytes: Buffer, at: number, end: number): this {
    this.#bytes = bytes
    this.#at = at + frameLengthBytes + 1
    this.#end = end
    return this
  }

  byte(): number {
    return this.#at < this.#end ? this.#bytes[this.#at++]! : 0
  }

  number(): number {
    let value = 0
    for (let scale = 1; this.#at < this.#end; scale *= 128) {
      const byte = this.#bytes[this.#at++]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) break
    }
    return value
  }

  milliseconds(): number {
    if (this.#end - this.#at < 6) return 0
    const value = this.#bytes.readUIntBE(this.#at, 6)
    this.#at += 6
    return value
  }

  /** A text with its length before it. */
  text(): string {
    const length = Math.min(this.number(), this.#end - this.#at)
    const text = this.#bytes.toString('utf8', this.#at, this.#at + length)
    this.#at += length
    return text
  }

  rest(): Buffer {
    const rest = this.#bytes.subarray(this.#at, this.#end)
    this.#at = this.#end
    return rest
  }
}
