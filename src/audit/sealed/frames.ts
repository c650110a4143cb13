/** Frames, read: where each begins and ends, and the numbers in it. Nothing is believed of their lengths. */
import { frameLengthBytes } from './format.ts'

/** Where the frame that begins at `at` ends; −1 where it is not whole. */
export function frameEnd(bytes: Buffer, at: number): number {
  if (at + frameLengthBytes >= bytes.length) return -1
  const end = at + frameLengthBytes + ((bytes[at]! << 8) | bytes[at + 1]!)
  return end > bytes.length || end === at + frameLengthBytes ? -1 : end
}

/** How many of these bytes are whole frames, from the first on. */
export function wholeFrames(bytes: Buffer): number {
  let whole = 0
  for (let end = frameEnd(bytes, 0); end > 0; end = frameEnd(bytes, end)) whole = end
  return whole
}

export function kindAt(bytes: Buffer, at: number): number {
  return bytes[at + frameLengthBytes]!
}

/** Goes from frame to frame, and reads what each holds behind its kind, number by number. Reads 0 beyond a frame's end. */
export class FrameReader {
  readonly #bytes: Buffer
  #at = 0
  #end = 0
  /** Of the frame that it stands at. */
  kind = 0
  start = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Where the frame ends. */
  get end(): number {
    return this.#end
  }

  /** To the next frame; false where none is whole any more. */
  next(): boolean {
    const end = frameEnd(this.#bytes, this.#end)
    if (end < 0) return false
    this.start = this.#end
    this.kind = kindAt(this.#bytes, this.start)
    this.#at = this.start + frameLengthBytes + 1
    this.#end = end
    return true
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
