/**
 * The bench's own reading and writing of envelopes, shared by stub and load maker. It trusts its peers and leaves out
 * what a product must do (limits, checksums of what arrives, compression), so that neither end is ever the bottleneck.
 */
import type { Socket } from 'node:net'
import { envelopeHeaderBytes, headerBodyBytes, writeHeader } from '../src/cql/protocol.ts'
import { sealSegment, segmentHeaderBytes, segmentTrailerBytes } from '../src/cql/segment.ts'

export type EnvelopeListener = (buf: Buffer, start: number, end: number) => void

const nothing = Buffer.alloc(0)

/** Cuts what a socket delivers into envelopes: bare ones first, and inside v5 segments once `segmented` is set. */
export class WireReader {
  segmented = false
  readonly #onEnvelope: EnvelopeListener
  #left: Buffer = nothing
  #pieces: Buffer = nothing

  constructor(onEnvelope: EnvelopeListener) {
    this.#onEnvelope = onEnvelope
  }

  feed(chunk: Buffer): void {
    const buf = this.#left.length === 0 ? chunk : Buffer.concat([this.#left, chunk])
    let at = 0
    // `segmented` may turn true in the middle of a chunk, by what an envelope says.
    while (at < buf.length) {
      const next = this.segmented ? this.#segment(buf, at) : this.#envelope(buf, at)
      if (next < 0) break
      at = next
    }
    this.#left = buf.subarray(at)
  }

  /** Where the envelope at `at` ends, or −1 when it is not all there. */
  #envelope(buf: Buffer, at: number): number {
    if (buf.length - at < envelopeHeaderBytes) return -1
    const end = at + envelopeHeaderBytes + headerBodyBytes(buf, at)
    if (end > buf.length) return -1
    this.#onEnvelope(buf, at, end)
    return end
  }

  #segment(buf: Buffer, at: number): number {
    if (buf.length - at < segmentHeaderBytes) return -1
    const payloadBytes = buf[at]! | (buf[at + 1]! << 8) | ((buf[at + 2]! & 1) << 16)
    const selfContained = (buf[at + 2]! & 2) !== 0
    const payloadAt = at + segmentHeaderBytes
    const end = payloadAt + payloadBytes + segmentTrailerBytes
    if (end > buf.length) return -1
    let payload = buf.subarray(payloadAt, payloadAt + payloadBytes)
    if (!selfContained) payload = this.#pieces = Buffer.concat([this.#pieces, payload])
    let from = 0
    while (from < payload.length) {
      const next = this.#envelope(payload, from)
      if (next < 0) break
      from = next
    }
    if (!selfContained) this.#pieces = this.#pieces.subarray(from)
    return end
  }
}

const slabBytes = 32 * 1024
/** A long envelope leaves in such pieces, the next when the socket has taken one: a node's other connections go on meanwhile. */
const pieceBytes = 512 * 1024

interface Waiting {
  readonly envelope: Buffer
  readonly stream: number
}

/** Gathers envelopes in a slab; `flush` hands what is there to the socket, as one v5 segment where `segmented` is set. */
export class WireWriter {
  segmented = false
  readonly #socket: Socket
  /** A long envelope, of which so much was written, and what waits behind it. */
  readonly #queue: Waiting[] = []
  #writtenBytes = 0
  #slab = Buffer.allocUnsafe(slabBytes)
  #start = 0
  #end = segmentHeaderBytes

  constructor(socket: Socket) {
    this.#socket = socket
  }

  /** Copies a whole envelope, but for the body of a very long one, and gives it the stream id. */
  write(envelope: Buffer, stream: number): void {
    const waits = this.#queue.length > 0
    if (!waits && (this.segmented || envelope.length <= slabBytes)) {
      this.#put(envelope, stream)
      return
    }
    this.#queue.push({ envelope, stream })
    if (!waits) this.#pump()
  }

  #put(envelope: Buffer, stream: number): void {
    if (this.#end + envelope.length + segmentTrailerBytes > this.#slab.length) {
      this.flush()
      // The old slab lives on in the socket's pending write. A slab is no longer than a segment may be.
      this.#slab = Buffer.allocUnsafe(Math.max(slabBytes, envelope.length + segmentHeaderBytes + segmentTrailerBytes))
      this.#start = 0
      this.#end = segmentHeaderBytes
    }
    envelope.copy(this.#slab, this.#end)
    this.#slab[this.#end + 2] = stream >> 8
    this.#slab[this.#end + 3] = stream
    this.#end += envelope.length
  }

  #pump(): void {
    for (;;) {
      const [first] = this.#queue
      if (first === undefined) break
      const { envelope, stream } = first
      if (envelope.length <= slabBytes) {
        this.#queue.shift()
        this.#put(envelope, stream)
        continue
      }
      this.flush()
      if (!this.#piece(envelope, stream)) {
        this.#socket.once('drain', () => this.#pump())
        return
      }
    }
    this.flush()
  }

  /** The next one; false where the socket has to take it before another. */
  #piece(envelope: Buffer, stream: number): boolean {
    const from = this.#writtenBytes
    if (from === 0) {
      const header = Buffer.from(envelope.subarray(0, envelopeHeaderBytes))
      header.writeInt16BE(stream, 2)
      this.#socket.write(header)
    }
    const to = Math.min(from + pieceBytes, envelope.length)
    const goesOn = this.#socket.write(envelope.subarray(Math.max(from, envelopeHeaderBytes), to))
    const isWhole = to === envelope.length
    this.#writtenBytes = isWhole ? 0 : to
    if (isWhole) this.#queue.shift()
    return goesOn
  }

  flush(): void {
    const payloadAt = this.#start + segmentHeaderBytes
    if (this.#end === payloadAt) return
    if (this.segmented) {
      sealSegment(this.#slab, this.#start, this.#end - payloadAt, true)
      this.#end += segmentTrailerBytes
      this.#socket.write(this.#slab.subarray(this.#start, this.#end))
    } else {
      this.#socket.write(this.#slab.subarray(payloadAt, this.#end))
    }
    this.#start = this.#end
    this.#end += segmentHeaderBytes
  }
}

/** An envelope on stream 0, for `WireWriter.write` to copy. */
export function envelope(versionByte: number, opcode: number, body: Buffer): Buffer {
  const whole = Buffer.allocUnsafe(envelopeHeaderBytes + body.length)
  writeHeader(whole, versionByte, 0, 0, opcode, body.length)
  body.copy(whole, envelopeHeaderBytes)
  return whole
}

export const int = (value: number): Buffer => {
  const buf = Buffer.allocUnsafe(4)
  buf.writeInt32BE(value)
  return buf
}

export const short = (value: number): Buffer => {
  const buf = Buffer.allocUnsafe(2)
  buf.writeUInt16BE(value)
  return buf
}

export const string = (text: string): Buffer => Buffer.concat([short(Buffer.byteLength(text)), Buffer.from(text)])

export const longString = (text: string): Buffer => Buffer.concat([int(Buffer.byteLength(text)), Buffer.from(text)])
