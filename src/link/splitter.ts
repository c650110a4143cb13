/**
 * Splits the bytes of a mesh link into frames. A frame that lies whole in a chunk is handed on as a view of it.
 */
import { RingfenceError } from '../base/errors.ts'
import { HEADER_BYTES } from '../cql/protocol.ts'
import { SESSION_BYTES } from './protocol.ts'

export interface FrameSink {
  /** `buffer[start..end)` is the envelope; borrowed for the call. */
  onFrame(session: number, buffer: Buffer, start: number, end: number): void
}

const PREFIX_BYTES = SESSION_BYTES + HEADER_BYTES

export class FrameSplitter {
  /** An unfinished frame: its bytes so far, in a buffer of its whole size once the header is known. */
  #partial: Buffer = Buffer.alloc(0)
  #partialBytes = 0
  readonly #bodyBytesMax: number

  /** `bodyBytesMax`: longest envelope body that the other end may send. */
  constructor(bodyBytesMax: number) {
    this.#bodyBytesMax = bodyBytesMax
  }

  /** Throws `LINK` on a frame that may not be; the splitter must not be used after that. */
  push(chunk: Buffer, sink: FrameSink): void {
    let at = 0
    if (this.#partialBytes > 0) {
      at = this.#complete(chunk, sink)
      if (at < 0) return
    }
    while (chunk.length - at >= PREFIX_BYTES) {
      const bytes = this.#frameBytes(chunk, at)
      if (chunk.length - at < bytes) break
      sink.onFrame(chunk.readUInt32BE(at), chunk, at + SESSION_BYTES, at + bytes)
      at += bytes
    }
    if (at < chunk.length) this.#keep(chunk, at)
  }

  #keep(chunk: Buffer, at: number): void {
    const rest = chunk.length - at
    const bytes = rest >= PREFIX_BYTES ? this.#frameBytes(chunk, at) : PREFIX_BYTES
    this.#partial = Buffer.allocUnsafe(bytes)
    chunk.copy(this.#partial, 0, at)
    this.#partialBytes = rest
  }

  /** Fills the unfinished frame; gives where the chunk goes on, or −1 when it is used up and the frame still unfinished. */
  #complete(chunk: Buffer, sink: FrameSink): number {
    let at = 0
    if (this.#partialBytes < PREFIX_BYTES) {
      at = Math.min(PREFIX_BYTES - this.#partialBytes, chunk.length)
      chunk.copy(this.#partial, this.#partialBytes, 0, at)
      this.#partialBytes += at
      if (this.#partialBytes < PREFIX_BYTES) return -1
      const whole = Buffer.allocUnsafe(this.#frameBytes(this.#partial, 0))
      this.#partial.copy(whole, 0, 0, PREFIX_BYTES)
      this.#partial = whole
    }
    const missing = Math.min(this.#partial.length - this.#partialBytes, chunk.length - at)
    chunk.copy(this.#partial, this.#partialBytes, at, at + missing)
    this.#partialBytes += missing
    if (this.#partialBytes < this.#partial.length) return -1
    const frame = this.#partial
    this.#partialBytes = 0
    this.#partial = Buffer.alloc(0)
    sink.onFrame(frame.readUInt32BE(0), frame, SESSION_BYTES, frame.length)
    return at + missing
  }

  /** The size of the frame whose prefix stands at `at`; checked before memory is taken. */
  #frameBytes(buffer: Buffer, at: number): number {
    const bodyBytes = buffer.readInt32BE(at + SESSION_BYTES + 5)
    if (bodyBytes < 0 || bodyBytes > this.#bodyBytesMax) {
      throw new RingfenceError('LINK', `a frame with a body of ${bodyBytes} bytes exceeds ${this.#bodyBytesMax}`)
    }
    return PREFIX_BYTES + bodyBytes
  }
}
