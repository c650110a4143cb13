/**
 * One end's way onto a mesh link. A small envelope leaves at once. A large one, or one that comes while much waits, waits in a queue of its
 * session. The queues take turns, piece by piece, so an answer waits for at most one piece of each other session.
 *
 * Rule: of one session everything leaves in order. While the other end has paused a session, only control messages of it leave.
 */
import { Fifo } from '../base/fifo.ts'
import { ownBytes } from '../cql/own-bytes.ts'
import { envelopeHeaderBytes } from '../cql/protocol.ts'
import { pieceBytesMax, pieceInto, pieceOverheadBytes } from './pieces.ts'

/** The part of an outbox that is needed here. */
export interface FrameOutbox {
  readonly waitingBytes: number
  write(buffer: Buffer, start: number, end: number, stream: number, session: number): void
}

interface Waiting {
  readonly bytes: Buffer
  readonly stream: number
}

/** Of one session, one direction. */
export class SessionQueue {
  readonly session: number
  /** Told of each envelope that leaves the queue, or is dropped with it: the bytes that it held. */
  readonly onGone: (bytes: number) => void
  readonly envelopes: Fifo<Waiting> = new Fifo()
  /** Of the first envelope. */
  sentBytes = 0
  waitingBytes = 0
  paused = false
  /** It has something and is not paused: it takes its turns. */
  inRound = false
  dropped = false

  constructor(session: number, onGone: (bytes: number) => void) {
    this.session = session
    this.onGone = onGone
  }
}

export interface FairSenderOptions {
  readonly outbox: FrameOutbox
  /** False where the other end takes whole envelopes only. */
  readonly inPieces: boolean
}

/** Of the queues so much is given to the outbox, which passes it on as the socket takes it. */
const windowBytes = 256 * 1024
/** Where more than this waits in the outbox, what is small goes into its session's queue too. */
const directBytesMax = 1024 * 1024

export class FairSender {
  readonly #outbox: FrameOutbox
  readonly #inPieces: boolean
  /** Queues that take turns, next first. */
  readonly #round: Fifo<SessionQueue> = new Fifo()
  readonly #piece = Buffer.allocUnsafeSlow(pieceBytesMax + pieceOverheadBytes)

  constructor({ outbox, inPieces }: FairSenderOptions) {
    this.#outbox = outbox
    this.#inPieces = inPieces
  }

  /** True where an envelope of `bytes` would have to wait in `queue`: it is a copy then, and held until `onGone`. */
  mustWait(queue: SessionQueue, bytes: number): boolean {
    return bytes > pieceBytesMax || queue.paused || queue.waitingBytes > 0 || this.#outbox.waitingBytes > directBytesMax
  }

  /** For what need not wait. */
  write(queue: SessionQueue, buffer: Buffer, start: number, end: number, stream: number): void {
    this.#outbox.write(buffer, start, end, stream, queue.session)
  }

  /** For what must. The queue keeps a copy, or a long envelope itself. */
  enqueue(queue: SessionQueue, buffer: Buffer, start: number, end: number, stream: number): void {
    if (queue.dropped) return
    const bytes = ownBytes({ bytes: buffer, start, end })
    queue.envelopes.push({ bytes, stream })
    queue.waitingBytes += bytes.length
    this.#join(queue)
    this.pump()
  }

  pause(queue: SessionQueue): void {
    queue.paused = true
  }

  resume(queue: SessionQueue): void {
    if (!queue.paused) return
    queue.paused = false
    this.#join(queue)
    this.pump()
  }

  /** The session is over: what waits of it is gone. */
  drop(queue: SessionQueue): void {
    if (queue.dropped) return
    queue.dropped = true
    for (const { bytes } of queue.envelopes) queue.onGone(bytes.length)
    queue.envelopes.clear()
    queue.waitingBytes = 0
  }

  /** The link is gone. */
  close(): void {
    for (const queue of this.#round) this.drop(queue)
    this.#round.clear()
  }

  /** To be called when the socket has taken what it was given. */
  pump(): void {
    while (this.#round.length > 0 && this.#outbox.waitingBytes < windowBytes) {
      const queue = this.#round.shift()!
      if (queue.paused || queue.waitingBytes === 0) {
        queue.inRound = false
        continue
      }
      this.#turnOf(queue)
      if (queue.waitingBytes > 0) this.#round.push(queue)
      else queue.inRound = false
    }
  }

  #join(queue: SessionQueue): void {
    if (queue.inRound || queue.paused || queue.waitingBytes === 0) return
    queue.inRound = true
    this.#round.push(queue)
  }

  /** A piece's worth of one session. */
  #turnOf(queue: SessionQueue): void {
    let left = pieceBytesMax
    while (left > 0 && queue.envelopes.length > 0) {
      const { bytes: envelope, stream } = queue.envelopes.first!
      const rest = envelope.length - queue.sentBytes
      if (!this.#inPieces || (queue.sentBytes === 0 && rest <= pieceBytesMax)) {
        if (rest > left && left < pieceBytesMax) return
        this.#outbox.write(envelope, 0, envelope.length, stream, queue.session)
        left -= rest
        this.#gone(queue, envelope, rest)
        continue
      }
      const bytes = Math.min(rest, left)
      const end = pieceInto(this.#piece, envelope, queue.sentBytes, bytes)
      if (queue.sentBytes === 0) this.#piece.writeInt16BE(stream, envelopeHeaderBytes + 2)
      this.#outbox.write(this.#piece, 0, end, 0, queue.session)
      left -= bytes
      if (bytes === rest) this.#gone(queue, envelope, rest)
      else {
        queue.sentBytes += bytes
        queue.waitingBytes -= bytes
      }
    }
  }

  /** The first envelope of the queue has left, `bytes` of it now. */
  #gone(queue: SessionQueue, envelope: Buffer, bytes: number): void {
    queue.envelopes.shift()
    queue.sentBytes = 0
    queue.waitingBytes -= bytes
    queue.onGone(envelope.length)
  }
}
