/**
 * What waits to leave through one socket. Each envelope is copied once, straight into the current slab (`slab-writer.ts`); the slab is
 * written once per turn, or a few turns later where many clients share the socket (`flow.ts`).
 *
 * A long envelope is put in a queue, and what comes behind it as well: a window of it passes through slabs in each turn, as the socket
 * takes them. Copying, checksums and compression of all of it would keep the loop from everybody else.
 *
 * Invariant: an open segment starts at `segmentAt`, which is no later than `at`. What is in the slab leaves before what is in the queue.
 */
import type { Writable } from 'node:stream'
import { contained, type Owner } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { Fifo } from '../base/fifo.ts'
import { lz4Compress } from '../cql/lz4.ts'
import { longEnvelopeBytes, ownBytes } from '../cql/own-bytes.ts'
import { envelopeHeaderBytes } from '../cql/protocol.ts'
import {
  compressedSegment,
  sealSegment,
  segmentHeaderBytes,
  segmentPayloadBytesMax,
  segmentTrailerBytes,
} from '../cql/segment.ts'
import { Flow } from './flow.ts'
import { Slab } from './slab.ts'
import { SlabWriter } from './slab-writer.ts'
import type { Flushable, Pumped, Turn } from './turn.ts'

const compressionFlag = 0x01
/** Bodies shorter than this gain nothing from LZ4. */
const compressBodyBytesMin = 64
/** And longer ones leave as they are, for a body is one block: it would take the loop a second for 100 MB. Each envelope says whether it is compressed. */
const compressBodyBytesMax = 1024 * 1024

/** Of long envelopes so much passes in a turn, or what takes so long, and never less than one part. */
const windowBytes = 512 * 1024
const windowMs = 2

/** bare: v3/v4 or before READY. prefixed: the mesh link, four bytes of session number first. The rest: after READY. */
export type Framing = 'bare' | 'prefixed' | 'body-lz4' | 'segments' | 'segments-lz4'

export interface OutboxOptions {
  /** `bare` unless said otherwise. */
  readonly framing?: Framing
  /** The sessions of many clients leave here: a turn with few envelopes waits for the next, while there is a flow of them. */
  readonly shared?: boolean
  /** Requests leave here: their records come with their answers, so full slabs need not wait for those, and `lastSlab` is used. */
  readonly requests?: boolean
  /** The last long envelope has been handed to the socket, and what came behind it. */
  readonly onLongOver?: () => void
}

/** An envelope that waits behind a long one, or is one. Nobody writes to its bytes. */
interface Waiting {
  readonly bytes: Buffer
  readonly stream: number
  readonly session: number
}

export class Outbox extends SlabWriter implements Flushable, Pumped, Owner {
  /** Undefined where one client's envelopes leave. */
  readonly #flow: Flow | undefined
  #framing: Framing
  #segmentAt = -1
  #scheduled = false
  /** A long envelope, and what waits behind it; of the first `#passedBytes` are in slabs. All count until they are gone, for so long they are kept. */
  readonly #queue: Fifo<Waiting> = new Fifo()
  #queuedBytes = 0
  #passedBytes = 0
  /** It has its turn of the next end of a turn, or else the socket's `drain` gives it one. */
  #pumps = false
  /** The socket ends after the last of them. */
  #ends = false
  readonly #onLongOver: (() => void) | undefined
  #listens = false

  constructor(
    socket: Writable,
    turn: Turn,
    { framing = 'bare', shared = false, requests = false, onLongOver }: OutboxOptions = {},
  ) {
    super(socket, turn, requests)
    this.#framing = framing
    this.#flow = shared ? new Flow() : undefined
    this.#onLongOver = onLongOver
  }

  /** Bytes that the peer has not taken yet. */
  get waitingBytes(): number {
    return this.socket.writableLength + this.gatheredBytes + this.#queuedBytes
  }

  /** A long envelope is on its way, and what comes waits for it. */
  get hasLong(): boolean {
    return this.#queue.length > 0
  }

  /** Changes the framing from the next envelope on; what was written before leaves in the old one. */
  use(framing: Framing): void {
    this.#sealOpen()
    this.#framing = framing
  }

  /** No more writes; what waits is dropped. */
  close(): void {
    this.closed = true
    this.#queue.clear()
    this.#queuedBytes = 0
    this.#segmentAt = -1
    this.giveUpSlab()
  }

  /**
   * Copies one envelope, `buffer[start..end)`, with another stream id. `session` is used by prefixed framing only. Of a long one that is all
   * of `buffer` no copy is made: nobody may write to it again.
   */
  write(buffer: Buffer, start: number, end: number, stream: number, session = 0): void {
    if (this.closed) return
    if (this.#queuedBytes > 0 || end - start > longEnvelopeBytes) {
      this.#wait(buffer, start, end, stream, session)
      return
    }
    if (!this.#scheduled) this.#begin()
    if (this.#flow !== undefined) this.#flow.gathered++
    this.#put(buffer, start, end, stream, session)
  }

  #put(buffer: Buffer, start: number, end: number, stream: number, session: number): void {
    const bytes = end - start
    switch (this.#framing) {
      case 'bare':
        this.reserve(bytes)
        this.#copy(buffer, start, end, stream)
        break
      case 'prefixed':
        this.reserve(bytes + 4)
        this.#prefix(session)
        this.#copy(buffer, start, end, stream)
        break
      case 'body-lz4':
        this.#compressed(buffer, start, end, stream)
        break
      default:
        if (bytes > segmentPayloadBytesMax) this.#split(buffer, start, end, stream)
        else this.#intoSegment(buffer, start, end, stream)
    }
  }

  /** Copies a whole envelope as it stands. */
  send(envelope: Buffer, session = 0): void {
    this.write(envelope, 0, envelope.length, envelope.readInt16BE(2), session)
  }

  /** Ends the socket behind what was handed over. */
  end(): void {
    this.#ends = true
    if (this.#queue.length === 0) this.socket.end()
  }

  flushTurn(): void {
    if (this.closed) return
    if (this.#flow?.waitsForMore() === true) {
      this.turn.add(this)
      return
    }
    this.#flow?.written()
    this.#scheduled = false
    this.#sealOpen()
    this.handOver()
    this.letLongGo()
  }

  /** What waits leaves now, after its record. */
  flushNow(): void {
    if (this.turn.record()) this.flushTurn()
    else this.dropTurn()
  }

  override dropTurn(): void {
    this.close()
    this.socket.destroy(new RingfenceError('UNAVAILABLE', 'the audit record cannot be written'))
  }

  /** Part of `Pumped`: a window of what waits. */
  pumpTurn(): void {
    this.#pumps = false
    if (this.closed) return
    if (!this.socket.writable) {
      this.close()
      return
    }
    const until = performance.now() + windowMs
    let left = windowBytes
    do left -= this.#pass()
    while (this.#queue.length > 0 && left > 0 && performance.now() < until)
    this.#sealOpen()
    this.handOver()
    this.letLongGo()
    if (this.#queue.length > 0) this.#pumpOn()
    else {
      this.#onLongOver?.()
      if (this.#ends) this.socket.end()
    }
  }

  /** Part of `Owner`. */
  onFault(): void {
    this.close()
    this.socket.destroy()
  }

  #wait(buffer: Buffer, start: number, end: number, stream: number, session: number): void {
    const bytes = ownBytes({ bytes: buffer, start, end })
    this.#queue.push({ bytes, stream, session })
    this.#queuedBytes += bytes.length
    if (this.requests) {
      this.lastSlab = new Slab(bytes)
      this.lastAt = 0
      this.lastBytes = bytes.length
    }
    this.#pumpOn()
  }

  /** In the next end of a turn, or when the socket has taken what it was given. */
  #pumpOn(): void {
    if (this.#pumps) return
    if (!this.socket.writableNeedDrain) {
      this.#pumps = true
      this.turn.pump(this)
    } else if (!this.#listens) {
      this.#listens = true
      this.socket.on(
        'drain',
        contained(this, 'a long envelope', () => {
          if (this.#queue.length > 0) this.#pumpOn()
        }),
      )
    }
  }

  /** Puts a part of the first that waits into slabs, or all of it where it is short; gives how many bytes. */
  #pass(): number {
    const { bytes, stream, session } = this.#queue.first!
    const from = this.#passedBytes
    const isShort = bytes.length <= longEnvelopeBytes
    let to: number
    if (isShort || (this.#framing === 'body-lz4' && bytes.length - envelopeHeaderBytes <= compressBodyBytesMax)) {
      this.#put(bytes, 0, bytes.length, stream, session)
      to = bytes.length
    } else if (this.#framing === 'segments' || this.#framing === 'segments-lz4') {
      to = Math.min(from + segmentPayloadBytesMax, bytes.length)
      if (from === 0) this.#sealOpen()
      this.#segment(bytes, from, to, from === 0 ? stream : -1)
    } else {
      if (from === 0 && this.#framing === 'prefixed') {
        this.reserve(4)
        this.#prefix(session)
      }
      this.reserve(envelopeHeaderBytes)
      to = Math.min(from + this.slab.length - this.at, bytes.length)
      const at = this.at
      bytes.copy(this.slab, at, from, to)
      if (from === 0) this.slab.writeInt16BE(stream, at + 2)
      this.at = at + to - from
    }
    this.#passedBytes = to
    if (to === bytes.length) {
      this.#queue.shift()
      this.#queuedBytes -= bytes.length
      this.#passedBytes = 0
    }
    return to - from
  }

  /** The first write of a turn. */
  #begin(): void {
    this.#scheduled = true
    this.turn.add(this)
    this.beginAgain()
  }

  #prefix(session: number): void {
    const slab = this.slab
    const at = this.at
    slab[at] = session >>> 24
    slab[at + 1] = session >>> 16
    slab[at + 2] = session >>> 8
    slab[at + 3] = session
    this.at = at + 4
  }

  #copy(buffer: Buffer, start: number, end: number, stream: number): void {
    const at = this.at
    buffer.copy(this.slab, at, start, end)
    this.slab[at + 2] = (stream >> 8) & 0xff
    this.slab[at + 3] = stream & 0xff
    this.wroteAt(at, end - start)
    this.at = at + end - start
  }

  #intoSegment(buffer: Buffer, start: number, end: number, stream: number): void {
    const bytes = end - start
    if (this.#segmentAt >= 0) {
      const payload = this.at - this.#segmentAt - segmentHeaderBytes
      const fits =
        payload + bytes <= segmentPayloadBytesMax && this.at + bytes + segmentTrailerBytes <= this.slab.length
      if (!fits) this.#sealOpen()
    }
    if (this.#segmentAt < 0) {
      this.reserve(bytes + segmentHeaderBytes + segmentTrailerBytes)
      this.#segmentAt = this.at
      this.at += segmentHeaderBytes
    }
    this.#copy(buffer, start, end, stream)
  }

  #sealOpen(): void {
    if (this.#segmentAt < 0) return
    const payloadAt = this.#segmentAt + segmentHeaderBytes
    const payloadBytes = this.at - payloadAt
    if (this.#framing === 'segments-lz4') {
      const segment = compressedSegment(this.slab.subarray(payloadAt, this.at), true)
      this.at = this.#segmentAt
      this.#segmentAt = -1
      this.reserve(segment.length)
      segment.copy(this.slab, this.at)
      this.at += segment.length
      return
    }
    sealSegment(this.slab, this.#segmentAt, payloadBytes, true)
    this.at += segmentTrailerBytes
    this.#segmentAt = -1
  }

  /** An envelope larger than a segment goes out in several that are not self-contained. */
  #split(buffer: Buffer, start: number, end: number, stream: number): void {
    this.#sealOpen()
    for (let from = start; from < end; from += segmentPayloadBytesMax) {
      const to = Math.min(from + segmentPayloadBytesMax, end)
      this.#segment(buffer, from, to, from === start ? stream : -1)
    }
    if (!this.requests) return
    this.lastSlab = new Slab(withStream(buffer, start, end, stream))
    this.lastAt = 0
    this.lastBytes = end - start
  }

  /** One of them; `stream` is −1 where it does not begin with the envelope's header. */
  #segment(buffer: Buffer, from: number, to: number, stream: number): void {
    if (this.#framing === 'segments-lz4') {
      const piece = stream < 0 ? buffer.subarray(from, to) : withStream(buffer, from, to, stream)
      const segment = compressedSegment(piece, false)
      this.reserve(segment.length)
      segment.copy(this.slab, this.at)
      this.at += segment.length
      return
    }
    const bytes = to - from
    this.reserve(segmentHeaderBytes + bytes + segmentTrailerBytes)
    const at = this.at + segmentHeaderBytes
    buffer.copy(this.slab, at, from, to)
    if (stream >= 0) this.slab.writeInt16BE(stream, at + 2)
    sealSegment(this.slab, this.at, bytes, false)
    this.at = at + bytes + segmentTrailerBytes
  }

  /** v3/v4 with LZ4: four bytes of the uncompressed length, then the block (native_protocol_v4.spec §5). */
  #compressed(buffer: Buffer, start: number, end: number, stream: number): void {
    const bodyBytes = end - start - envelopeHeaderBytes
    if (bodyBytes < compressBodyBytesMin || bodyBytes > compressBodyBytesMax) {
      this.reserve(end - start)
      this.#copy(buffer, start, end, stream)
      return
    }
    const block = lz4Compress(buffer.subarray(start + envelopeHeaderBytes, end))
    const bytes = envelopeHeaderBytes + 4 + block.length
    this.reserve(bytes)
    const slab = this.slab
    const at = this.at
    buffer.copy(slab, at, start, start + envelopeHeaderBytes)
    slab[at + 1] = slab[at + 1]! | compressionFlag
    slab.writeInt16BE(stream, at + 2)
    slab.writeInt32BE(4 + block.length, at + 5)
    slab.writeInt32BE(bodyBytes, at + envelopeHeaderBytes)
    block.copy(slab, at + envelopeHeaderBytes + 4)
    this.at = at + bytes
  }
}

/** A copy of the envelope that begins at `start`, with another stream id. */
function withStream(buffer: Buffer, start: number, end: number, stream: number): Buffer {
  const copy = Buffer.from(buffer.subarray(start, end))
  copy.writeInt16BE(stream, 2)
  return copy
}
