/**
 * What waits to leave through one socket. Each envelope is copied once, straight into the current slab; the slab is written
 * once per turn, or a few turns later where many clients share the socket. A full slab waits until the socket has taken it and
 * nobody pins it for a replay; then it is used again.
 *
 *   slab  [ handed to the socket | waiting for the end of the turn | room ]
 *         0                     from                             at     size
 *
 * Invariant: from ≤ at ≤ slab.length; an open segment starts at `segmentAt`, from ≤ segmentAt ≤ at.
 */
import type { Writable } from 'node:stream'
import { RingfenceError } from '../base/errors.ts'
import { lz4Compress } from '../cql/lz4.ts'
import { HEADER_BYTES } from '../cql/protocol.ts'
import {
  compressedSegment,
  SEGMENT_HEADER_BYTES,
  SEGMENT_PAYLOAD_BYTES_MAX,
  SEGMENT_TRAILER_BYTES,
  sealSegment,
} from '../cql/segment.ts'
import { giveSlab, SLAB_BYTES, Slab, takeSlab } from './slab.ts'
import type { Flushable, Turn } from './turn.ts'

/** Full slabs remembered; more are left to the garbage collector. */
const FULL_MAX = 16
const COMPRESSION_FLAG = 0x01
/** Bodies shorter than this gain nothing from LZ4. */
const COMPRESS_BODY_BYTES_MIN = 64
/** And longer ones leave as they are, for a body is one block: it would take the loop a second for 100 MB. Each envelope says whether it is compressed. */
const COMPRESS_BODY_BYTES_MAX = 1024 * 1024

/** As many envelopes are worth a write of their own. */
const GATHER_ENVELOPES = 16
/** How many turns of the event loop the first of fewer waits for more, at most. */
const GATHER_TURNS_MAX = 3
/** After a write of fewer nobody waits: requests come one by one, and each is to be quick. */
const FLOW_ENVELOPES_MIN = 4

/** bare: v3/v4 or before READY. prefixed: the mesh link, four bytes of session number first. The rest: after READY. */
export type Framing = 'bare' | 'prefixed' | 'body-lz4' | 'segments' | 'segments-lz4'

export interface OutboxOptions {
  /** `bare` unless said otherwise. */
  readonly framing?: Framing
  /** The sessions of many clients leave here: a turn with few envelopes waits for the next, while there is a flow of them. */
  readonly shared?: boolean
  /** Requests leave here: their records come with their answers, so full slabs need not wait for those, and `lastSlab` is used. */
  readonly requests?: boolean
}

export class Outbox implements Flushable {
  readonly #socket: Writable
  readonly #turn: Turn
  readonly #shared: boolean
  readonly #requests: boolean
  #framing: Framing
  // One that nobody has touched: of an idle session's slab only the first page is ever resident.
  #current = new Slab(Buffer.allocUnsafeSlow(SLAB_BYTES))
  #slab = this.#current.bytes
  /** Full ones, oldest first, that the socket has not taken or somebody pins. */
  readonly #full: Slab[] = []
  #handedBytes = 0
  #from = 0
  #at = 0
  #segmentAt = -1
  #scheduled = false
  #closed = false
  /** Envelopes since the last write, how many of them there were a turn ago, turns that they wait, and envelopes of the last write. */
  #gathered = 0
  #gatheredBefore = 0
  #turnsWaited = 0
  #lastWrite = 0
  /** Where the last envelope written stands. Valid until the next write, and after `lastSlab.pin()` until `unpin()`. */
  lastSlab: Slab = this.#current
  lastAt = 0
  lastBytes = 0

  constructor(
    socket: Writable,
    turn: Turn,
    { framing = 'bare', shared = false, requests = false }: OutboxOptions = {},
  ) {
    this.#socket = turn.way(socket)
    this.#turn = turn
    this.#framing = framing
    this.#shared = shared
    this.#requests = requests
  }

  /** Bytes that the peer has not taken yet. */
  get waitingBytes(): number {
    return this.#socket.writableLength + (this.#at - this.#from)
  }

  /** Bytes that the peer has taken since the beginning. */
  get takenBytes(): number {
    return this.#handedBytes - this.#socket.writableLength
  }

  /** Lets go of the slabs that the socket has taken. */
  trim(): void {
    if (this.#full.length > 0) this.#giveBack()
  }

  /** Changes the framing from the next envelope on; what was written before leaves in the old one. */
  use(framing: Framing): void {
    this.#sealOpen()
    this.#framing = framing
  }

  /** No more writes; what waits is dropped. */
  close(): void {
    this.#closed = true
  }

  /** Copies one envelope, `buffer[start..end)`, with another stream id. `session` is used by prefixed framing only. */
  write(buffer: Buffer, start: number, end: number, stream: number, session = 0): void {
    if (this.#closed) return
    if (!this.#scheduled) this.#begin()
    this.#gathered++
    const bytes = end - start
    switch (this.#framing) {
      case 'bare':
        this.#reserve(bytes)
        this.#copy(buffer, start, end, stream)
        break
      case 'prefixed':
        this.#reserve(bytes + 4)
        this.#prefix(session)
        this.#copy(buffer, start, end, stream)
        break
      case 'body-lz4':
        this.#compressed(buffer, start, end, stream)
        break
      default:
        if (bytes > SEGMENT_PAYLOAD_BYTES_MAX) this.#split(buffer, start, end, stream)
        else this.#intoSegment(buffer, start, end, stream)
    }
  }

  /** Copies a whole envelope as it stands. */
  send(envelope: Buffer, session = 0): void {
    this.write(envelope, 0, envelope.length, envelope.readInt16BE(2), session)
  }

  /** Ends the socket behind what was handed over. */
  end(): void {
    this.#socket.end()
  }

  flushTurn(): void {
    if (this.#shared && this.#waitsForMore()) {
      this.#turn.add(this)
      return
    }
    this.#lastWrite = this.#gathered
    this.#gathered = 0
    this.#gatheredBefore = 0
    this.#turnsWaited = 0
    this.#scheduled = false
    this.#sealOpen()
    this.#handOver()
    if (this.#slab.length > SLAB_BYTES) this.#renew(0)
  }

  /** What waits leaves now, after its record. */
  flushNow(): void {
    if (this.#turn.record()) this.flushTurn()
    else this.dropTurn()
  }

  dropTurn(): void {
    this.#closed = true
    this.#socket.destroy(new RingfenceError('UNAVAILABLE', 'the audit record cannot be written'))
  }

  /** A turn in which nothing came ends the waiting, and so do enough envelopes or turns. */
  #waitsForMore(): boolean {
    if (this.#lastWrite < FLOW_ENVELOPES_MIN || this.#gathered >= GATHER_ENVELOPES) return false
    if (this.#gathered === this.#gatheredBefore || this.#turnsWaited === GATHER_TURNS_MAX) return false
    this.#gatheredBefore = this.#gathered
    this.#turnsWaited++
    return true
  }

  /** The first write of a turn: the slab is begun again where everything in it has left. */
  #begin(): void {
    this.#scheduled = true
    this.#turn.add(this)
    if (this.#from === 0 || this.#at !== this.#from || this.#current.pinned || this.#socket.writableLength > 0) return
    this.#from = 0
    this.#at = 0
  }

  #prefix(session: number): void {
    const slab = this.#slab
    const at = this.#at
    slab[at] = session >>> 24
    slab[at + 1] = session >>> 16
    slab[at + 2] = session >>> 8
    slab[at + 3] = session
    this.#at = at + 4
  }

  #copy(buffer: Buffer, start: number, end: number, stream: number): void {
    const at = this.#at
    buffer.copy(this.#slab, at, start, end)
    this.#slab[at + 2] = (stream >> 8) & 0xff
    this.#slab[at + 3] = stream & 0xff
    this.lastSlab = this.#current
    this.lastAt = at
    this.lastBytes = end - start
    this.#at = at + end - start
  }

  /** Makes room for `bytes` in one piece; a full slab is handed to the socket and left alone until it may be used again. */
  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#slab.length) return
    if (!this.#requests && !this.#closed && !this.#turn.record()) this.dropTurn()
    this.#handOver()
    this.#giveBack()
    // One that was made for a long envelope is not used again.
    if (this.#full.length < FULL_MAX && this.#slab.length === SLAB_BYTES) this.#full.push(this.#current)
    this.#renew(bytes)
  }

  #renew(bytes: number): void {
    this.#current = takeSlab(bytes)
    this.#slab = this.#current.bytes
    this.#from = 0
    this.#at = 0
    this.lastSlab = this.#current
  }

  #giveBack(): void {
    // What a stream has not passed on yet counts in its length, first in, first out.
    const takenBytes = this.#handedBytes - this.#socket.writableLength
    let first = this.#full[0]
    while (first !== undefined && !first.pinned && first.handedBytes <= takenBytes) {
      giveSlab(first)
      this.#full.shift()
      first = this.#full[0]
    }
  }

  #handOver(): void {
    if (this.#at === this.#from) return
    const bytes = this.#slab.subarray(this.#from, this.#at)
    this.#from = this.#at
    if (this.#closed || !this.#socket.writable) return
    this.#socket.write(bytes)
    this.#handedBytes += bytes.length
    this.#current.handedBytes = this.#handedBytes
  }

  #intoSegment(buffer: Buffer, start: number, end: number, stream: number): void {
    const bytes = end - start
    if (this.#segmentAt >= 0) {
      const payload = this.#at - this.#segmentAt - SEGMENT_HEADER_BYTES
      const fits =
        payload + bytes <= SEGMENT_PAYLOAD_BYTES_MAX && this.#at + bytes + SEGMENT_TRAILER_BYTES <= this.#slab.length
      if (!fits) this.#sealOpen()
    }
    if (this.#segmentAt < 0) {
      this.#reserve(bytes + SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES)
      this.#segmentAt = this.#at
      this.#at += SEGMENT_HEADER_BYTES
    }
    this.#copy(buffer, start, end, stream)
  }

  #sealOpen(): void {
    if (this.#segmentAt < 0) return
    const payloadAt = this.#segmentAt + SEGMENT_HEADER_BYTES
    const payloadBytes = this.#at - payloadAt
    if (this.#framing === 'segments-lz4') {
      const segment = compressedSegment(this.#slab.subarray(payloadAt, this.#at), true)
      this.#at = this.#segmentAt
      this.#segmentAt = -1
      this.#reserve(segment.length)
      segment.copy(this.#slab, this.#at)
      this.#at += segment.length
      return
    }
    sealSegment(this.#slab, this.#segmentAt, payloadBytes, true)
    this.#at += SEGMENT_TRAILER_BYTES
    this.#segmentAt = -1
  }

  /** An envelope larger than a segment goes out in several that are not self-contained. */
  #split(buffer: Buffer, start: number, end: number, stream: number): void {
    this.#sealOpen()
    for (let from = start; from < end; from += SEGMENT_PAYLOAD_BYTES_MAX) {
      const to = Math.min(from + SEGMENT_PAYLOAD_BYTES_MAX, end)
      if (this.#framing === 'segments-lz4') {
        const piece = from === start ? withStream(buffer, from, to, stream) : buffer.subarray(from, to)
        const segment = compressedSegment(piece, false)
        this.#reserve(segment.length)
        segment.copy(this.#slab, this.#at)
        this.#at += segment.length
      } else {
        const bytes = to - from
        this.#reserve(SEGMENT_HEADER_BYTES + bytes + SEGMENT_TRAILER_BYTES)
        const at = this.#at + SEGMENT_HEADER_BYTES
        buffer.copy(this.#slab, at, from, to)
        if (from === start) this.#slab.writeInt16BE(stream, at + 2)
        sealSegment(this.#slab, this.#at, bytes, false)
        this.#at = at + bytes + SEGMENT_TRAILER_BYTES
      }
    }
    if (!this.#requests) return
    this.lastSlab = new Slab(withStream(buffer, start, end, stream))
    this.lastAt = 0
    this.lastBytes = end - start
  }

  /** v3/v4 with LZ4: four bytes of the uncompressed length, then the block (native_protocol_v4.spec §5). */
  #compressed(buffer: Buffer, start: number, end: number, stream: number): void {
    const bodyBytes = end - start - HEADER_BYTES
    if (bodyBytes < COMPRESS_BODY_BYTES_MIN || bodyBytes > COMPRESS_BODY_BYTES_MAX) {
      this.#reserve(end - start)
      this.#copy(buffer, start, end, stream)
      return
    }
    const block = lz4Compress(buffer.subarray(start + HEADER_BYTES, end))
    const bytes = HEADER_BYTES + 4 + block.length
    this.#reserve(bytes)
    const slab = this.#slab
    const at = this.#at
    buffer.copy(slab, at, start, start + HEADER_BYTES)
    slab[at + 1] = slab[at + 1]! | COMPRESSION_FLAG
    slab.writeInt16BE(stream, at + 2)
    slab.writeInt32BE(4 + block.length, at + 5)
    slab.writeInt32BE(bodyBytes, at + HEADER_BYTES)
    block.copy(slab, at + HEADER_BYTES + 4)
    this.#at = at + bytes
  }
}

/** A copy of the envelope that begins at `start`, with another stream id. */
function withStream(buffer: Buffer, start: number, end: number, stream: number): Buffer {
  const copy = Buffer.from(buffer.subarray(start, end))
  copy.writeInt16BE(stream, 2)
  return copy
}
