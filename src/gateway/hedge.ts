/**
 * Reads that a `RoutingPolicy` lets be asked of a second replica when the first is late. Copies go by the session's own upstream sessions,
 * under stream ids that no client can use. Else an answer that nobody waits for any more could come when the client uses its stream id
 * again.
 *
 *   EXECUTE 7 ─▶ copy, stream −2 ─▶ replica A            … hedgeAfterMs …  copy, stream −3 ─▶ replica B
 *                                          first answer ─▶ client, as 7; the other answer is dropped
 *
 * Rule: only a SELECT that runs no Paxos is ever here, so that nothing is done twice.
 */
import { Verdict } from '../base/bytes-budget.ts'
import { RingfenceError } from '../base/errors.ts'
import { copyOf, type Envelope, wholeEnvelope } from '../cql/envelope.ts'
import { CqlErrorCode, Opcode } from '../cql/protocol.ts'
import { errorCode, readError } from '../cql/responses.ts'
import type { FirstPrepare, Prepared } from './first-prepare.ts'
import { outcomeUnknown } from './loss.ts'
import type { Passing } from './passing.ts'
import type { RemoteSidecar } from './remote-sidecar.ts'
import type { Statement } from './routing/statements.ts'
import { eventStream, type SessionState } from './session-state.ts'
import type { UpstreamSession } from './upstream-session.ts'

/** Copies of one session that are under way. */
const copiesMax = 4096
/** Where there is no session at the second replica yet, one is looked for this often. */
const upstreamPollMs = 10
const upstreamPollsMax = 50

/** The envelope is a copy. */
interface HedgedRead extends Envelope {
  readonly clientStream: number
  readonly statement: Statement
  readonly first: RemoteSidecar
  /** Copies that are under way. */
  copies: number
  answered: boolean
  /** Its request is in the client's account. */
  counted: boolean
}

interface Copy {
  readonly read: HedgedRead
  readonly upstream: UpstreamSession
}

export class Hedger {
  readonly #state: SessionState
  readonly #firstPrepare: FirstPrepare
  /** By `eventStream - 1 - stream`. */
  readonly #copies: (Copy | undefined)[] = []
  readonly #free: number[] = []
  #closed = false

  constructor(state: SessionState, firstPrepare: FirstPrepare) {
    this.#state = state
    this.#firstPrepare = firstPrepare
  }

  /** False where it cannot be done so: there is no session yet, or its sidecar has not the statement. Then the request goes the ordinary way. */
  execute(statement: Statement, sidecar: RemoteSidecar, afterMs: number, request: Passing): boolean {
    const { client, services, upstreams, keyspace } = this.#state
    const upstream = upstreams.at(sidecar, keyspace)
    if (upstream === undefined || !statement.isOn(upstream.link)) return false
    if (client.account.take(request.byteCount) === Verdict.REFUSE) return false
    const read = {
      ...wholeEnvelope(copyOf(request)),
      clientStream: request.stream,
      statement,
      first: sidecar,
      copies: 0,
      answered: false,
      counted: true,
    }
    if (!this.#send(read, upstream)) {
      this.#over(read)
      return false
    }
    services.hedgeClock.after(afterMs, () => this.#again(read, upstreamPollsMax))
    return true
  }

  /** What came for one copy. */
  onAnswer(upstream: UpstreamSession, answer: Passing): void {
    const read = this.#settle(answer.stream)
    if (read === undefined) return
    const failed = answer.opcode === Opcode.ERROR
    if (failed) this.#onError(upstream, read, answer)
    else upstream.sidecar.load.succeeded()
    // An error may still be made good by the other copy.
    if (read.answered || (failed && read.copies > 0)) return
    read.answered = true
    this.#state.streamOver(read.clientStream)
    this.#state.client.answer(answer.bytes, answer.start, answer.end, read.clientStream)
  }

  /** A copy waited for its statement to be prepared at the second replica. */
  onPrepared(stream: number, { upstream, request, ready }: Prepared): void {
    if (ready && upstream.usable && this.#fits(upstream, wholeEnvelope(request), stream)) return
    this.#giveUp(stream, 'a second replica could not be asked')
  }

  /** What was under way there will not be answered. */
  onClosed(upstream: UpstreamSession, reason: string): void {
    for (const [index, copy] of this.#copies.entries()) {
      if (copy?.upstream === upstream) this.#giveUp(streamAt(index), reason)
    }
  }

  close(): void {
    this.#closed = true
    for (const copy of this.#copies) if (copy !== undefined) this.#over(copy.read)
  }

  #send(read: HedgedRead, upstream: UpstreamSession): boolean {
    const stream = this.#take(read, upstream)
    if (stream === eventStream) return false
    if (this.#fits(upstream, read, stream)) return true
    this.#settle(stream)
    return false
  }

  /** False where there is no room for it to wait in. */
  #fits(upstream: UpstreamSession, request: Envelope, stream: number): boolean {
    try {
      upstream.send(request, stream, this.#state.services.nowMicros())
      return true
    } catch (reason) {
      refuseOthers(reason)
      return false
    }
  }

  /** The second copy, if there is a replica to send it to, as soon as there is a session there. */
  #again(read: HedgedRead, pollsLeft: number): void {
    if (read.answered || read.copies !== 1 || this.#closed) return
    const { services, startup, upstreams, keyspace } = this.#state
    const { statement, first } = read
    const sidecar = services.router.replicaOfExecute(statement, startup.version, read, first)
    if (sidecar === undefined) return
    const upstream = upstreams.at(sidecar, keyspace)
    if (upstream === undefined) {
      if (pollsLeft > 0) services.hedgeClock.after(upstreamPollMs, () => this.#again(read, pollsLeft - 1))
    } else if (statement.isOn(upstream.link)) this.#send(read, upstream)
    else this.#prepareFirst(read, upstream)
  }

  #prepareFirst(read: HedgedRead, upstream: UpstreamSession): void {
    const stream = this.#take(read, upstream)
    if (stream === eventStream) return
    try {
      if (this.#firstPrepare.begin(upstream, [read.statement], read, stream)) return
    } catch (reason) {
      this.#settle(stream)
      refuseOthers(reason)
      return
    }
    this.#settle(stream)
  }

  /** A stream id for one copy; `eventStream` when there is none left. */
  #take(read: HedgedRead, upstream: UpstreamSession): number {
    const index = this.#free.pop() ?? this.#copies.length
    if (index >= copiesMax) return eventStream
    this.#copies[index] = { read, upstream }
    read.copies++
    return streamAt(index)
  }

  /** One copy will not be answered; where it was the last, the read is lost. */
  #giveUp(stream: number, reason: string): void {
    const read = this.#settle(stream)
    if (read === undefined || read.answered || read.copies > 0) return
    read.answered = true
    this.#state.streamOver(read.clientStream)
    this.#state.client.fault(outcomeUnknown(reason), read.clientStream)
  }

  #onError(upstream: UpstreamSession, { statement }: HedgedRead, answer: Passing): void {
    const code = errorCode(answer)
    upstream.erred(code, this.#state.services.nowMicros())
    if (code !== CqlErrorCode.UNPREPARED) return
    const { preparedId } = readError(answer)
    if (preparedId?.equals(statement.id) === true) statement.forget(upstream.link)
  }

  /** The copy of that stream is over. */
  #settle(stream: number): HedgedRead | undefined {
    const index = eventStream - 1 - stream
    const read = this.#copies[index]?.read
    if (read === undefined) return undefined
    this.#copies[index] = undefined
    this.#free.push(index)
    read.copies--
    if (read.copies === 0) this.#over(read)
    return read
  }

  /** No copy is under way, and none will be. */
  #over(read: HedgedRead): void {
    if (!read.counted) return
    read.counted = false
    this.#state.client.account.give(read.bytes.length)
  }
}

/** Below that of events, which are below all that clients use. */
function streamAt(index: number): number {
  return eventStream - 1 - index
}

/** Throws what is not about room. */
function refuseOthers(reason: unknown): void {
  if (!(reason instanceof RingfenceError) || reason.code !== 'OVERLOADED') throw reason
}
