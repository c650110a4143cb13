/**
 * Reads that a `RoutingPolicy` lets be asked of a second replica when the first is late. They go by lanes of their own, under stream ids of
 * our own, because an answer that nobody waits for any more may come when the client uses its stream id for something else.
 *
 *   EXECUTE 7 ─▶ copy, our stream 0 ─▶ replica A            … hedgeAfterMs …  copy, our stream 1 ─▶ replica B
 *                                          first answer ─▶ client, as 7; the other answer is dropped
 *
 * Rule: only a SELECT that runs no Paxos is ever here, so that nothing is done twice.
 */
import { type ByteAccount, Verdict } from '../base/bytes-budget.ts'
import { RingfenceError } from '../base/errors.ts'
import { CqlErrorCode, headerOpcode, headerStream, Opcode, type ProtocolVersion } from '../cql/protocol.ts'
import { errorCode, readError } from '../cql/responses.ts'
import type { Close } from '../link/protocol.ts'
import { FirstPrepare } from './first-prepare.ts'
import type { HedgeClock } from './hedge-clock.ts'
import type { Lane, LaneHost } from './lane.ts'
import { Lanes, type LanesOptions } from './lanes.ts'
import type { Place } from './place.ts'
import type { Statement } from './routing/statements.ts'

/** Our stream ids: requests of one session, with their second copies, that are under way. */
const STREAMS_MAX = 4096
/** Where there is no lane for the second copy yet, one is looked for this often. */
const LANE_POLL_MS = 10
const LANE_POLLS_MAX = 50

export interface HedgedRead {
  readonly clientStream: number
  readonly statement: Statement
  readonly request: Buffer
  readonly first: Place
  /** Copies that are under way. */
  copies: number
  answered: boolean
  /** Its request is in the client's account. */
  counted: boolean
}

export interface HedgeHost {
  /** A replica of the row that is not `first`; undefined where there is none. */
  readonly another: (read: HedgedRead) => Place | undefined
  readonly paused: (lane: Lane) => void
  readonly answer: (read: HedgedRead, buffer: Buffer, start: number, end: number) => void
  /** No copy will be answered any more. */
  readonly lost: (read: HedgedRead, reason: string) => void
}

export class Hedger implements LaneHost {
  readonly #lanes: Lanes
  readonly #nowMicros: () => number
  readonly #clock: HedgeClock
  readonly #host: HedgeHost
  /** By our stream id. */
  readonly #reads: ({ readonly read: HedgedRead; readonly lane: Lane } | undefined)[] = []
  readonly #free: number[] = []
  readonly #firstPrepare: FirstPrepare
  readonly #account: ByteAccount
  readonly #version: ProtocolVersion
  #closed = false

  constructor(options: Omit<LanesOptions, 'host'>, clock: HedgeClock, host: HedgeHost) {
    this.#lanes = new Lanes({ ...options, host: this })
    this.#account = options.client.account
    this.#firstPrepare = new FirstPrepare(this.#account)
    this.#nowMicros = options.nowMicros
    this.#version = options.startup.version
    this.#clock = clock
    this.#host = host
  }

  /** False where it cannot be done so: there is no lane yet, or its sidecar has not the statement. Then the request goes the ordinary way. */
  execute(statement: Statement, place: Place, afterMs: number, buffer: Buffer, start: number, end: number): boolean {
    const lane = this.#lanes.at(place, '')
    if (lane === undefined || !statement.isOn(lane.link)) return false
    if (this.#account.take(end - start) === Verdict.REFUSE) return false
    const request = Buffer.from(buffer.subarray(start, end))
    const clientStream = headerStream(request, 0)
    const read = { clientStream, statement, request, first: place, copies: 0, answered: false, counted: true }
    if (!this.#send(read, lane)) {
      this.#over(read)
      return false
    }
    this.#clock.after(afterMs, () => this.#again(read, LANE_POLLS_MAX))
    return true
  }

  giveUpIdle(): void {
    this.#lanes.giveUpIdle(undefined)
  }

  pauseAnswers(paused: boolean): void {
    this.#lanes.pauseAnswers(paused)
  }

  close(): void {
    this.#closed = true
    for (const sent of this.#reads) if (sent !== undefined) this.#over(sent.read)
    this.#firstPrepare.close()
    this.#lanes.close()
  }

  #send(read: HedgedRead, lane: Lane): boolean {
    const stream = this.#take(read, lane)
    if (stream < 0) return false
    if (this.#fits(lane, read.request, stream)) return true
    this.#settle(stream)
    return false
  }

  /** False where there is no room for it to wait in. */
  #fits(lane: Lane, request: Buffer, stream: number): boolean {
    try {
      lane.send(request, 0, request.length, stream, this.#nowMicros())
      return true
    } catch (reason) {
      refuseOthers(reason)
      return false
    }
  }

  /** The second copy, if there is somebody to send it to, as soon as there is a lane to him. */
  #again(read: HedgedRead, pollsLeft: number): void {
    if (read.answered || read.copies !== 1 || this.#closed) return
    const place = this.#host.another(read)
    if (place === undefined) return
    const lane = this.#lanes.at(place, '')
    if (lane === undefined) {
      if (pollsLeft > 0) this.#clock.after(LANE_POLL_MS, () => this.#again(read, pollsLeft - 1))
    } else if (read.statement.isOn(lane.link)) this.#send(read, lane)
    else this.#prepareFirst(read, lane)
  }

  #prepareFirst(read: HedgedRead, lane: Lane): void {
    const { statement } = read
    const now = this.#nowMicros()
    if (!statement.mayPrepare(lane.link, lane.keyspace, now)) return
    const stream = this.#take(read, lane)
    if (stream < 0) return
    const request = Buffer.from(read.request)
    request.writeInt16BE(stream, 2)
    try {
      const prepare = this.#firstPrepare.begin(lane, request, [statement])
      lane.send(prepare, 0, prepare.length, stream, now)
    } catch (reason) {
      this.#firstPrepare.drop(stream)
      this.#settle(stream)
      refuseOthers(reason)
    }
  }

  /** A stream id for one copy; −1 when there is none left. */
  #take(read: HedgedRead, lane: Lane): number {
    const stream = this.#free.pop() ?? this.#reads.length
    if (stream >= STREAMS_MAX) return -1
    this.#reads[stream] = { read, lane }
    read.copies++
    return stream
  }

  onLaneOpened(): void {}

  onLaneDraining(): void {}

  onLanePaused(lane: Lane): void {
    this.#host.paused(lane)
  }

  onLaneFrame(lane: Lane, buffer: Buffer, start: number, end: number): void {
    const stream = headerStream(buffer, start)
    const now = this.#nowMicros()
    lane.answered(stream, now)
    if (this.#firstPrepare.has(stream)) {
      const outcome = this.#firstPrepare.answered(stream, this.#version, now, buffer, start, end)
      if ('ready' in outcome && outcome.ready && lane.usable && this.#fits(lane, outcome.request, stream)) return
      this.#giveUp(stream, 'a second replica could not be asked')
      return
    }
    const read = this.#settle(stream)
    if (read === undefined) return
    const failed = headerOpcode(buffer, start) === Opcode.ERROR
    if (failed) this.#onError(lane, read, buffer, start, end)
    else lane.place.load.succeeded()
    // An error may still be made good by the other copy.
    if (read.answered || (failed && read.copies > 0)) return
    read.answered = true
    this.#host.answer(read, buffer, start, end)
  }

  onLaneClosed(lane: Lane, reason: Close): void {
    this.#lanes.gone(lane)
    if (this.#closed) return
    this.#firstPrepare.lost(lane)
    for (const [stream, sent] of this.#reads.entries()) {
      if (sent?.lane === lane) this.#giveUp(stream, reason.message)
    }
  }

  /** One copy will not be answered; where it was the last, the read is lost. */
  #giveUp(stream: number, reason: string): void {
    const read = this.#settle(stream)
    if (read === undefined || read.answered || read.copies > 0) return
    read.answered = true
    this.#host.lost(read, reason)
  }

  #onError(lane: Lane, { statement }: HedgedRead, buffer: Buffer, start: number, end: number): void {
    const code = errorCode(buffer, start, end)
    lane.erred(code, this.#nowMicros())
    if (code !== CqlErrorCode.UNPREPARED) return
    const { preparedId } = readError(buffer, start, end)
    if (preparedId?.equals(statement.id) === true) statement.forget(lane.link)
  }

  /** The copy of that stream is over. */
  #settle(stream: number): HedgedRead | undefined {
    const read = this.#reads[stream]?.read
    if (read === undefined) return undefined
    this.#reads[stream] = undefined
    this.#free.push(stream)
    read.copies--
    if (read.copies === 0) this.#over(read)
    return read
  }

  /** No copy is under way, and none will be. */
  #over(read: HedgedRead): void {
    if (!read.counted) return
    read.counted = false
    this.#account.give(read.request.length)
  }
}

/** Throws what is not about room. */
function refuseOthers(reason: unknown): void {
  if (!(reason instanceof RingfenceError) || reason.code !== 'OVERLOADED') throw reason
}
