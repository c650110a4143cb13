/**
 * Bytes from a socket become whole envelopes: bare ones (v3, v4, and v5 until its READY or AUTHENTICATE), LZ4 bodies (v3, v4),
 * and v5 segments with or without LZ4. Sources: native_protocol_v5.spec §2; `transport/Envelope.java`,
 * `transport/CQLMessageHandler.java`, `net/FrameDecoderCrc.java`, `net/FrameDecoderLZ4.java`.
 *
 *     chunk ──▶ [bare] ─────────────────────────────────▶ envelope ──▶ sink
 *          └──▶ [segment] ──▶ payload ──▶ whole or pieces ───┘
 *
 * Where Cassandra is lenient we close: a bad checksum, set padding bits, a self-contained segment inside a large message, bytes
 * behind an envelope that spans segments. What two parsers could read in two ways must not exist (attack B17).
 *
 * The outer frame is an envelope or a segment (`base/framer.ts` splits them, and collects what comes in pieces); an envelope that spans
 * segments is collected here.
 */
import { nothingEnds, unawaited } from '../base/contained.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { Collector } from '../base/framer.ts'
import { EnvelopeHeaders } from './envelope-headers.ts'
import { type EnvelopeSink, largeBytes } from './envelope-sink.ts'
import { LongBody, withBody } from './long-body.ts'
import { lz4Uncompress } from './lz4.ts'
import { envelopeHeaderBytes, Flag, headerBodyBytes, headerStream, headerVersion } from './protocol.ts'
import {
  checkSegmentPayload,
  isSelfContained,
  segmentBytesAt,
  segmentHeaderBytes,
  segmentHeaderLz4Bytes,
  segmentTrailerBytes,
  segmentUncompressedBytes,
} from './segment.ts'

/** A longer body is uncompressed beside the event loop. */
export const uncompressInlineBytesMax = 256 * 1024
/** Of segments that are uncompressed, until somebody looks at the clock. */
const lookedAtBytes = 256 * 1024
/** A byte of an LZ4 block stands for 255 at the most. */
const lz4RatioMax = 255

const empty: Buffer = Buffer.alloc(0)

const Mode = { BARE: 0, SEGMENTS: 1, SEGMENTS_LZ4: 2 } as const
type Mode = (typeof Mode)[keyof typeof Mode]

export class Inbound extends EnvelopeHeaders {
  protected headerBytes = envelopeHeaderBytes

  #mode: Mode = Mode.BARE
  #bodyCompression = false
  #dead = false
  #busy = false

  // An envelope that spans segments; `#largeBytes` is its whole length, 0 when there is none.
  readonly #large = new Collector()
  #largeBytes = 0
  // An envelope that is dropped as it comes, and its stream.
  #dropping = false
  #droppedStream = 0
  // The sink was asked about the envelope that is collected.
  #asked = false
  // An envelope whose body is uncompressed beside the event loop; and what came of it.
  #long: LongBody | undefined
  #segmentsBytes = 0
  // Whole envelopes out of a segment, behind the one at which the sink stopped.
  #opened = empty

  /** From the next byte on: v5 segments. PROTOCOL when a part of a bare envelope has arrived already. */
  useSegments(compression: 'none' | 'lz4'): void {
    assert(this.#mode === Mode.BARE, 'segments are switched on once')
    if (!this.#busy && (this.partial.have > 0 || this.waits)) {
      throw new RingfenceError('PROTOCOL', 'bytes came before the answer that switches to segments')
    }
    this.#mode = compression === 'lz4' ? Mode.SEGMENTS_LZ4 : Mode.SEGMENTS
    this.headerBytes = compression === 'lz4' ? segmentHeaderLz4Bytes : segmentHeaderBytes
  }

  /** v3 and v4: bodies that carry the compression flag are LZ4. */
  useBodyCompression(): void {
    this.#bodyCompression = true
  }

  /** Nothing comes compressed, so that few bytes are few envelopes. */
  get isPlain(): boolean {
    return this.#mode !== Mode.SEGMENTS_LZ4 && !this.#bodyCompression
  }

  /** What was asked about with `onLong` is not there yet. */
  get uncompressing(): boolean {
    return this.#long?.isOver === false
  }

  /** Memory that is held for what has not come whole, and for what waits. */
  get collectingBytes(): number {
    return this.partial.heldBytes + this.#large.heldBytes + this.restBytes + this.#opened.length
  }

  /** Something came that waits for `goOn`. */
  get waits(): boolean {
    return this.restBytes > 0 || this.#opened.length > 0 || this.#long !== undefined
  }

  /** All that came was delivered, to its last byte. */
  get isAtBoundary(): boolean {
    return !this.waits && !this.isWithinFrame && this.#largeBytes === 0
  }

  /** Called by a sink: it is given nothing more of what has come, until `goOn`. */
  stop(): void {
    this.stopped = true
  }

  /** A chunk that is not looked at before `goOn`. */
  keep(chunk: Buffer): void {
    this.keepRest(chunk)
  }

  /** Hands on what waits, as `push` does. */
  goOn(sink: EnvelopeSink): void {
    if (this.uncompressing) return
    this.#begin()
    try {
      const long = this.#long
      this.#long = undefined
      if (long !== undefined) this.#deliverLong(long, sink)
      const opened = this.#opened
      this.#opened = empty
      this.#contained(opened, 0, opened.length, sink)
      if (!this.stopped) this.split(this.takeRest(), sink)
    } catch (reason) {
      this.#die()
      throw reason
    }
    this.#busy = false
  }

  /** Drops the envelope that the sink was asked about and that has not come whole: what is there now, the rest as it comes. False where there is none. */
  drop(): boolean {
    if (!this.#asked || this.#dropping) return false
    if (this.#largeBytes > 0) {
      this.#beginDrop(this.#large.buffer, 0)
      this.#large.buffer = empty
    } else if (this.#mode === Mode.BARE && this.partial.have >= envelopeHeaderBytes) {
      this.#beginDrop(this.partial.buffer, 0)
      this.pass(envelopeHeaderBytes + headerBodyBytes(this.partial.buffer, 0))
    }
    return this.#dropping
  }

  /**
   * Hands every envelope that `chunk` completes to `sink`, as far as that lets it. Throws RingfenceError PROTOCOL, VERSION, TOO_LARGE or CHECKSUM, or
   * what the sink throws; the decoder is dead after that. `chunk` is not kept.
   */
  push(chunk: Buffer, sink: EnvelopeSink): void {
    if (this.waits) {
      this.keepRest(chunk)
      return
    }
    this.#begin()
    try {
      this.split(chunk, sink)
    } catch (reason) {
      this.#die()
      throw reason
    }
    this.#busy = false
  }

  #begin(): void {
    if (this.#dead) throw new RingfenceError('PROTOCOL', 'the stream has already failed')
    assert(!this.#busy, 'a sink does not push')
    this.#busy = true
    this.stopped = false
  }

  #die(): void {
    this.#dead = true
    this.#busy = false
    this.takeRest()
    this.#opened = empty
    this.#long = undefined
    this.partial.release()
    this.#large.release()
    this.#largeBytes = 0
    this.#dropping = false
  }

  // --- the outer frame

  protected frameBytes(buf: Buffer, at: number, sink: EnvelopeSink): number {
    if (this.#mode === Mode.BARE) return this.checkHeader(buf, at, sink)
    return segmentBytesAt(buf, at, this.headerBytes)
  }

  protected override onPartOfHeader(buf: Buffer, at: number, have: number): void {
    if (this.#mode === Mode.BARE) this.checkVersionEarly(buf, at, have)
  }

  protected override wants(buf: Buffer, at: number, bytes: number, isWhole: boolean, sink: EnvelopeSink): boolean {
    if (this.#mode !== Mode.BARE || (isWhole && !this.isTooLong(bytes))) return true
    return this.#isWanted(buf, at, bytes, sink)
  }

  protected onFrame(buf: Buffer, start: number, end: number, sink: EnvelopeSink): void {
    if (this.#mode === Mode.BARE) {
      this.#asked = false
      this.#deliverBare(buf, start, end, sink)
    } else this.#openSegment(buf, start, this.headerBytes, end - start, sink)
  }

  protected override onPassed(sink: EnvelopeSink): void {
    this.#dropped(sink)
  }

  // --- bare envelopes

  #dropped(sink: EnvelopeSink): void {
    this.#dropping = false
    this.#asked = false
    sink.onDropped?.(this.#droppedStream)
  }

  #beginDrop(buf: Buffer, at: number): void {
    this.#dropping = true
    this.#droppedStream = headerStream(buf, at)
  }

  /** Asks once for each envelope; false where it is dropped from now on. */
  #isWanted(buf: Buffer, at: number, envelopeBytes: number, sink: EnvelopeSink): boolean {
    if (this.#asked || (envelopeBytes <= largeBytes && !this.isTooLong(envelopeBytes))) return true
    this.#asked = true
    if (sink.onLarge?.(buf, at, envelopeBytes) ?? true) return true
    this.#beginDrop(buf, at)
    return false
  }

  #deliverBare(buffer: Buffer, start: number, end: number, sink: EnvelopeSink): void {
    if ((buffer[start + 1]! & Flag.COMPRESSION) === 0) {
      sink.onEnvelope(buffer, start, end)
    } else if (headerVersion(buffer, start) >= 5) {
      buffer[start + 1]! &= ~Flag.COMPRESSION
      sink.onEnvelope(buffer, start, end)
    } else {
      const whole = this.#uncompressBody(buffer, start, end, sink)
      if (whole !== undefined) sink.onEnvelope(whole, 0, whole.length)
    }
  }

  /** v3 and v4 with LZ4: the body is a big-endian [int] of its true length, then a raw block. */
  #uncompressBody(buffer: Buffer, start: number, end: number, sink: EnvelopeSink): Buffer | undefined {
    if (!this.#bodyCompression) this.refuse(buffer, start, 'PROTOCOL', 'compressed body, but no compression was agreed')
    const blockAt = start + envelopeHeaderBytes + 4
    if (end < blockAt) this.refuse(buffer, start, 'PROTOCOL', 'compressed body without its length')
    const bodyBytes = buffer.readInt32BE(start + envelopeHeaderBytes)
    if (bodyBytes < 0) this.refuse(buffer, start, 'PROTOCOL', 'negative length of a compressed body')
    if (bodyBytes > this.bodyBytesMax) {
      if (!this.dropsTooLong || (sink.onLarge?.(buffer, start, envelopeHeaderBytes + bodyBytes) ?? true))
        this.refuse(buffer, start, 'TOO_LARGE', this.tooLarge(bodyBytes))
      this.#beginDrop(buffer, start)
      this.#dropped(sink)
      return undefined
    }
    this.noteFault(buffer, start)
    if (bodyBytes > (end - blockAt) * lz4RatioMax) {
      this.refuse(buffer, start, 'PROTOCOL', 'a compressed body is said to be longer than it can be')
    }
    const block = buffer.subarray(blockAt, end)
    if (bodyBytes > uncompressInlineBytesMax && sink.onLong !== undefined) {
      this.forgetFault()
      if (sink.onLong(envelopeHeaderBytes + bodyBytes)) {
        const long = new LongBody(buffer, start)
        this.#long = long
        this.stopped = true
        unawaited(nothingEnds, 'a body that is uncompressed', this.#uncompress(long, block, bodyBytes, sink))
      } else {
        this.#beginDrop(buffer, start)
        this.#dropped(sink)
      }
      return undefined
    }
    const body = lz4Uncompress(block, bodyBytes)
    this.forgetFault()
    return withBody(buffer, start, body)
  }

  async #uncompress(long: LongBody, block: Buffer, bodyBytes: number, sink: EnvelopeSink): Promise<void> {
    await long.uncompress(block, bodyBytes)
    if (this.#long === long) sink.onUncompressed?.()
  }

  #deliverLong(long: LongBody, sink: EnvelopeSink): void {
    this.noteFault(long.header, 0)
    const whole = long.envelope()
    this.forgetFault()
    sink.onEnvelope(whole, 0, whole.length)
  }

  // --- segments

  #openSegment(buf: Buffer, at: number, headerBytes: number, segmentBytes: number, sink: EnvelopeSink): void {
    const payloadAt = at + headerBytes
    const trailerAt = at + segmentBytes - segmentTrailerBytes
    checkSegmentPayload(buf, payloadAt, trailerAt)
    const selfContained = isSelfContained(buf, at, headerBytes)
    const uncompressedBytes = headerBytes === segmentHeaderBytes ? 0 : segmentUncompressedBytes(buf, at)
    if (uncompressedBytes === 0) {
      this.#payloadOf(buf, payloadAt, trailerAt, selfContained, sink)
      return
    }
    const payload = lz4Uncompress(buf.subarray(payloadAt, trailerAt), uncompressedBytes)
    this.#segmentsBytes += uncompressedBytes
    if (this.#segmentsBytes >= lookedAtBytes) {
      this.#segmentsBytes = 0
      sink.onPiece?.()
    }
    this.#payloadOf(payload, 0, payload.length, selfContained, sink)
  }

  #payloadOf(buf: Buffer, start: number, end: number, selfContained: boolean, sink: EnvelopeSink): void {
    if (!selfContained) {
      this.#piece(buf, start, end, sink)
    } else if (this.#largeBytes > 0) {
      throw new RingfenceError('PROTOCOL', 'a self-contained segment interrupts a message of several segments')
    } else {
      this.#contained(buf, start, end, sink)
    }
  }

  /** Whole envelopes, any number of them; none is what Cassandra lets pass too. */
  #contained(buf: Buffer, start: number, end: number, sink: EnvelopeSink): void {
    let at = start
    while (at < end) {
      if (this.stopped) {
        this.#opened = Buffer.from(buf.subarray(at, end))
        return
      }
      if (end - at < envelopeHeaderBytes)
        throw new RingfenceError('PROTOCOL', 'a self-contained segment ends inside a header')
      const envelopeEnd = at + this.checkHeader(buf, at, sink)
      if (envelopeEnd > end) this.refuse(buf, at, 'PROTOCOL', 'a self-contained segment ends inside an envelope')
      if (this.isTooLong(envelopeEnd - at) && !this.#isWanted(buf, at, envelopeEnd - at, sink)) {
        this.#dropped(sink)
        at = envelopeEnd
        continue
      }
      this.#deliverFramed(buf, at, envelopeEnd, sink)
      at = envelopeEnd
    }
  }

  /** One piece of an envelope that spans segments. The first one holds the header, as Cassandra demands. */
  #piece(buf: Buffer, start: number, end: number, sink: EnvelopeSink): void {
    const large = this.#large
    if (this.#largeBytes === 0) {
      if (end - start < envelopeHeaderBytes)
        throw new RingfenceError('PROTOCOL', 'the first segment of a message ends inside its header')
      this.#largeBytes = this.checkHeader(buf, start, sink)
      this.#isWanted(buf, start, this.#largeBytes, sink)
    }
    if (large.have + (end - start) > this.#largeBytes) {
      throw new RingfenceError('PROTOCOL', 'a segment holds more than the rest of its message')
    }
    if (!this.#dropping) large.take(buf, start, end, this.#largeBytes)
    else large.have += end - start
    if (large.have < this.#largeBytes) return
    const envelopeBytes = this.#largeBytes
    this.#largeBytes = 0
    large.have = 0
    if (this.#dropping) {
      this.#dropped(sink)
      return
    }
    this.#asked = false
    this.#deliverFramed(large.buffer, 0, envelopeBytes, sink)
    large.clear()
  }

  #deliverFramed(buf: Buffer, start: number, end: number, sink: EnvelopeSink): void {
    // Compression is the segment's business in v5; some drivers set the old flag all the same.
    buf[start + 1]! &= ~Flag.COMPRESSION
    sink.onEnvelope(buf, start, end)
  }
}
