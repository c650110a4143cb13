/** Bodies that come compressed (v3, v4) and become envelopes; long ones on another thread. */
import { lz4UncompressBeside } from './lz4.ts'
import { envelopeHeaderBytes, Flag, headerStream, writeHeader } from './protocol.ts'

/** The envelope whose header stands at `buffer[start]`, with its body uncompressed. */
export function withBody(buffer: Buffer, start: number, body: Buffer): Buffer {
  const whole = Buffer.allocUnsafe(envelopeHeaderBytes + body.length)
  const flags = buffer[start + 1]! & ~Flag.COMPRESSION
  writeHeader(whole, buffer[start]!, flags, headerStream(buffer, start), buffer[start + 4]!, body.length)
  body.copy(whole, envelopeHeaderBytes)
  return whole
}

export class LongBody {
  /** As it came. */
  readonly header: Buffer
  #body: Buffer | undefined
  #fault: unknown

  constructor(buffer: Buffer, start: number) {
    this.header = Buffer.from(buffer.subarray(start, start + envelopeHeaderBytes))
  }

  get isOver(): boolean {
    return this.#body !== undefined || this.#fault !== undefined
  }

  /** `block` is not kept. Never rejects. */
  async uncompress(block: Buffer, bodyBytes: number): Promise<void> {
    try {
      this.#body = await lz4UncompressBeside(block, bodyBytes)
    } catch (reason) {
      this.#fault = reason
    }
  }

  /** Throws PROTOCOL for a block that is malformed, or not as long as was said. */
  envelope(): Buffer {
    if (this.#body === undefined) throw this.#fault
    return withBody(this.header, 0, this.#body)
  }
}
