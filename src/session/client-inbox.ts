/**
 * The requests on their way from one client: as many of its bytes are looked at in a turn as its share goes, and what has not come whole
 * counts in its account.
 *
 * Rule: whoever sends much stops itself only. What waits for a later turn waits here, in order.
 */
import { contain, contained } from '../base/contained.ts'
import { limits } from '../base/limits.ts'
import type { EnvelopeSink } from '../cql/envelope-sink.ts'
import { Inbound } from '../cql/inbound.ts'
import { envelopeHeaderBytes } from '../cql/protocol.ts'
import type { LoopShare } from './loop-share.ts'
import { RequestRoom, type Sender } from './request-room.ts'

/** Envelopes between two looks at the clock. */
const envelopesAPiece = 8
/** Of so few bytes the clock is not read, which takes as long as passing on a tenth of a request: each envelope in them counts as `passedMs`. */
const fewBytes = 1024
const passedMs = 0.007

/** The client that sends. */
export interface Requester extends Sender {
  readonly life: 'open' | 'draining' | 'closed'
  /** Its handshake is over. */
  readonly isReady: boolean
  /** Nothing of it is to be served now, whatever has come. */
  readonly isHeld: boolean
  /** One whole envelope, borrowed for the call. */
  onEnvelope(buffer: Buffer, start: number, end: number): void
  /** The last byte of a request came for which there was no room, or that is longer than any may be. */
  onDropped(stream: number, isTooLong: boolean): void
  /** What came waits for a later turn, so that nothing more is to be read; or no longer. */
  onLater(later: boolean): void
  /** What came is no envelope. */
  refuse(reason: unknown, stream: number): void
}

export class ClientInbox implements EnvelopeSink {
  /** Its framing, version and bounds are for others to change. */
  readonly inbound = new Inbound('requests', limits.authMessageBytesMax)
  readonly #client: Requester
  readonly #room: RequestRoom
  /** How much of a turn may go into reading it. */
  #reads: LoopShare
  #envelopes = 0
  /** The time of what is under way is measured. */
  #isTimed = true
  /** The request that is dropped as it comes is longer than any may be; else there is no room for it. */
  #isTooLong = false

  constructor(client: Requester, reads: LoopShare) {
    this.#client = client
    this.#reads = reads
    this.#room = new RequestRoom(client, this.inbound)
  }

  /** It is read by another share from now on. */
  readBy(reads: LoopShare): void {
    this.#reads = reads
  }

  /** Bytes came. `chunk` is not kept. */
  push(chunk: Buffer): void {
    const { inbound } = this
    // A few bytes may complete many that were only collected.
    const isTimed = chunk.length > fewBytes || !inbound.isPlain || !inbound.isAtBoundary
    if (isTimed ? this.#reads.begin() : !this.#reads.exhausted) this.#look(chunk, isTimed)
    else inbound.keep(chunk)
    if (inbound.isAtBoundary && !this.#room.counts) return
    if (inbound.uncompressing) this.#client.onLater(true)
    else if (inbound.waits) this.readLater()
    this.#room.count()
  }

  /** What waits goes on in a later turn. A few bytes are many envelopes where they come compressed. */
  readLater(): void {
    this.#client.onLater(true)
    this.#reads.later(contained(this.#client, 'bytes that wait for their turn', () => this.#goOn()))
  }

  /** A request that waits for room is dropped as it comes. */
  giveUp(): void {
    this.#room.giveUp()
  }

  /** Nothing more comes. */
  close(): void {
    this.#room.close()
  }

  /** Part of `EnvelopeSink`. */
  onEnvelope(buffer: Buffer, start: number, end: number): void {
    if (++this.#envelopes % envelopesAPiece === 0 && this.#isTimed && this.#reads.usedUp) this.inbound.stop()
    if (this.#room.counts) this.#room.whole()
    this.#client.onEnvelope(buffer, start, end)
  }

  /** Part of `EnvelopeSink`: a large request begins. */
  onLarge(_buffer: Buffer, _start: number, envelopeBytes: number): boolean {
    if (!this.#client.isReady) return true
    this.#isTooLong = envelopeBytes - envelopeHeaderBytes > limits.messageBytesMax
    if (this.#isTooLong || this.#client.life !== 'open') return false
    this.#room.begin(envelopeBytes)
    return true
  }

  /** Part of `EnvelopeSink`. */
  onLong(envelopeBytes: number): boolean {
    this.#isTooLong = false
    return this.#room.unfold(envelopeBytes)
  }

  /** Part of `EnvelopeSink`. */
  onUncompressed(): void {
    contain(this.#client, 'a body that was uncompressed', () => {
      if (this.#client.life !== 'closed') this.readLater()
    })
  }

  /** Part of `EnvelopeSink`: many bytes of one envelope, which does not count for `#envelopes`. */
  onPiece(): void {
    if (this.#isTimed && this.#reads.usedUp) this.inbound.stop()
  }

  /** Part of `EnvelopeSink`. */
  onDropped(stream: number): void {
    this.#client.onDropped(stream, this.#isTooLong)
  }

  /** A chunk, or without one what waits, as far as the client's share of this turn goes; ends the piece that was begun where that is timed. */
  #look(chunk?: Buffer, isTimed = true): void {
    // It may be another one afterwards: it becomes known who the client is.
    const reads = this.#reads
    const before = this.#envelopes
    this.#isTimed = isTimed
    try {
      if (chunk === undefined) this.inbound.goOn(this)
      else this.inbound.push(chunk, this)
    } catch (reason) {
      this.#client.refuse(reason, this.inbound.faultStream)
    } finally {
      if (isTimed) reads.end()
      else reads.charge(Math.max(this.#envelopes - before, 1) * passedMs)
    }
  }

  #goOn(): void {
    const client = this.#client
    if (client.life === 'closed') return
    // Whoever ends another pause reads on. What has come counts already, and a large request in it may have room.
    if (!client.isHeld && this.#reads.begin()) {
      this.#look()
      this.#room.count()
    }
    // It goes on when that is done.
    if (this.inbound.uncompressing) return
    if (this.inbound.waits && !client.isHeld) this.readLater()
    else client.onLater(false)
  }
}
