/** The bytes of a mesh link become frames: four bytes of session, then an envelope. */
import { RingfenceError } from '../base/errors.ts'
import { Framer } from '../base/framer.ts'
import { envelopeHeaderBytes, headerBodyBytes } from '../cql/protocol.ts'
import { sessionBytes } from './protocol.ts'

export interface FrameSink {
  /** `buffer[start..end)` is the envelope; borrowed for the call. */
  onFrame(session: number, buffer: Buffer, start: number, end: number): void
}

const prefixBytes = sessionBytes + envelopeHeaderBytes

export class FrameSplitter extends Framer<FrameSink> {
  protected readonly headerBytes = prefixBytes
  readonly #bodyBytesMax: number

  /** `bodyBytesMax`: longest envelope body that the other end may send. */
  constructor(bodyBytesMax: number) {
    super()
    this.#bodyBytesMax = bodyBytesMax
  }

  /** Memory that is held for a frame that has not come whole. */
  get collectingBytes(): number {
    return this.partial.heldBytes
  }

  /** Throws `LINK` on a frame that may not be; the splitter must not be used after that. */
  push(chunk: Buffer, sink: FrameSink): void {
    this.split(chunk, sink)
  }

  protected frameBytes(buffer: Buffer, at: number): number {
    const bodyBytes = headerBodyBytes(buffer, at + sessionBytes)
    if (bodyBytes < 0 || bodyBytes > this.#bodyBytesMax) {
      throw new RingfenceError('LINK', `a frame with a body of ${bodyBytes} bytes exceeds ${this.#bodyBytesMax}`)
    }
    return prefixBytes + bodyBytes
  }

  protected onFrame(buffer: Buffer, start: number, end: number, sink: FrameSink): void {
    sink.onFrame(buffer.readUInt32BE(start), buffer, start + sessionBytes, end)
  }
}
