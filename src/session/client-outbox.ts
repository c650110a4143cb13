/**
 * The answers on their way to one client. Many of them count in its account, and who does not take them is not read meanwhile.
 *
 * Rule: a slow reader stops itself only. Small answers are given whatever the account says, because they were asked for before the client
 * was paused. They have a bound of their own, beyond which the connection ends.
 */
import type { Writable } from 'node:stream'
import { type ByteAccount, overloaded, Verdict } from '../base/bytes-budget.ts'
import { limits } from '../base/limits.ts'
import { errorEnvelope } from '../cql/encode.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { refusalsBytesMax, smallAnswerBytes } from './client-life.ts'
import { cqlFault } from './fault.ts'
import { Outbox } from './outbox.ts'
import { ReaderPace } from './reader-pace.ts'
import type { Turn } from './turn.ts'

/** So little may wait without being counted. */
const uncountedBytesMax = 16 * 1024

/** The client that reads here. */
export interface Reader {
  readonly account: ByteAccount
  readonly version: ProtocolVersion
  /** Too much waits for it, or that is over. */
  onSlow(slow: boolean): void
  destroy(reason: string): void
}

export class ClientOutbox {
  /** To be written to by others with `bound` behind it. */
  readonly outbox: Outbox
  readonly #reader: Reader
  readonly #pace: ReaderPace
  /** Of the answers that wait; 0 while they are few. */
  #countedBytes = 0
  #isSlow = false
  /** Nothing counts any more, for nothing would give it back. */
  #isOver = false

  constructor(socket: Writable, turn: Turn, reader: Reader, nowMs: () => number) {
    this.outbox = new Outbox(socket, turn, { onLongOver: () => this.drained() })
    this.#reader = reader
    this.#pace = new ReaderPace(nowMs)
  }

  /** Sends an answer, or an error in its place where there is no room for it; stream −1 is an event. */
  answer(buffer: Buffer, start: number, end: number, stream: number): void {
    if (this.#isOver) return
    const bytes = end - start
    // Events are few and small, and whoever reads too slowly is closed.
    const mayRefuse = stream >= 0 && bytes > (this.#countedBytes > 0 ? smallAnswerBytes : uncountedBytesMax)
    if (mayRefuse && !this.#hasRoom(bytes)) {
      const { code, message } = cqlFault(overloaded())
      this.outbox.send(errorEnvelope(this.#reader.version, stream, code, message))
    } else this.outbox.write(buffer, start, end, stream)
    this.bound()
  }

  /** To be called after what was sent by another way. */
  bound(): void {
    const waiting = this.outbox.waitingBytes
    if (waiting > uncountedBytesMax || this.#countedBytes > 0) this.#count(waiting)
  }

  /** To be called when the socket took all that it was given. */
  drained(): void {
    this.outbox.trim()
    if (this.#countedBytes > 0) this.#count(this.outbox.waitingBytes)
    if (!this.#isSlow || this.outbox.hasLong) return
    this.#isSlow = false
    this.#pace.resumed()
    this.#reader.onSlow(false)
  }

  /** To be called now and then: counts what is not taken, and closes a reader that takes too little of it. */
  checkReader(): void {
    if (this.#countedBytes > 0) {
      this.outbox.trim()
      this.#count(this.outbox.waitingBytes)
    }
    if (this.#pace.tooSlow(this.outbox.takenBytes)) this.#reader.destroy('slower than readerBytesPerSecondMin')
  }

  /** The socket is closed. */
  over(): void {
    this.#isOver = true
    this.outbox.close()
    this.#reader.account.give(this.#countedBytes)
    this.#countedBytes = 0
  }

  #hasRoom(bytes: number): boolean {
    if (this.#reader.account.take(bytes) === Verdict.REFUSE) return false
    this.#countedBytes += bytes
    return true
  }

  #count(waiting: number): void {
    const bytes = waiting > uncountedBytesMax ? waiting : 0
    const more = bytes - this.#countedBytes
    this.#countedBytes = bytes
    const { account } = this.#reader
    if (more > 0) account.add(more)
    else if (more < 0) account.give(-more)
    if (bytes > limits.connectionWaitingBytesMax + refusalsBytesMax) {
      this.#reader.destroy('connectionWaitingBytesMax reached')
    } else if (bytes > limits.outboxHighWaterBytes && !this.#isSlow) {
      this.#isSlow = true
      this.#pace.paused(this.outbox.takenBytes)
      this.#reader.onSlow(true)
    }
  }
}
