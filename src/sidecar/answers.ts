/**
 * The way back. Each answer of the node goes through the answer stages; a request that gets none ends here.
 *
 * Rule: an answer that cannot be changed as its permit asks is not handed on; the client hears an error in its place.
 */

import { timedOut } from '../audit/event.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { errorEnvelope, unpreparedEnvelope } from '../cql/encode.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { CqlErrorCode } from '../cql/protocol.ts'
import { errorCode } from '../cql/responses.ts'
import { cqlFault } from '../session/fault.ts'
import { lost } from './ending.ts'
import { timeoutEnvelope, unfitEnvelope } from './envelopes.ts'
import type { Request, RequestOwner } from './request.ts'
import { countRows } from './stages/change-rows.ts'
import { give, letGoAfterUse, record } from './stages/give.ts'
import type { Ways } from './stages/in-order.ts'
import { chargeUngiven } from './stages/limit.ts'
import { readAnswer } from './stages/read-answer.ts'
import { type Session, Step } from './stages/stage.ts'
import { traceSlow, withTrace } from './traced.ts'

export class Answers implements RequestOwner {
  readonly #session: Session
  readonly #ways: Ways

  constructor(session: Session, ways: Ways) {
    this.#session = session
    this.#ways = ways
  }

  onAnswer(request: Request): void {
    try {
      keptWhere(this.#ways.answer(request, this.#session), request)
    } catch (reason) {
      this.failed(request, reason)
    }
  }

  /** A large answer was changed, and goes on. */
  changed(request: Request, answer: Buffer): void {
    request.setAnswer(answer, 0, answer.length)
    countRows(request, this.#session)
    this.#goOn(request)
  }

  /** The client hears an error in the answer's place. */
  failed(request: Request, reason: unknown): void {
    const { client, version, transactions } = this.#session
    chargeUngiven(request, this.#session, request.bytesOut)
    const { code, message, fatal } = cqlFault(ofAnswer(reason))
    this.#replace(request, errorEnvelope(version, request.stream, code, message), code)
    if (!fatal || transactions.blocked) give(request, this.#session)
    else {
      client.fault(reason, request.stream)
      letGoAfterUse(request, this.#session)
    }
  }

  /** The driver prepares again itself, and is told by the node what is wrong with the statement. */
  unprepared(request: Request, id: Buffer): void {
    const why = 'the node no longer has this prepared statement'
    const envelope = unpreparedEnvelope(this.#session.version, request.stream, id, why)
    this.#replace(request, envelope, CqlErrorCode.UNPREPARED)
    give(request, this.#session)
  }

  /** The record of a PREPARE that the client did not ask for. */
  prepared(prepare: Request): void {
    readAnswer(prepare)
    record(prepare, this.#session)
  }

  onUnfit(request: Request, answerBytes: number): void {
    chargeUngiven(request, this.#session, answerBytes)
    const envelope = unfitEnvelope(this.#session.version, request.stream, answerBytes)
    this.#replace(request, envelope, errorCode(wholeEnvelope(envelope)))
    give(request, this.#session)
  }

  onTimeout(request: Request): void {
    const envelope = timeoutEnvelope(this.#session.version, request.stream, request.judged!, request.consistency)
    recordLost(request, this.#session, timedOut)
    // The node has answered already; the answer is being changed.
    if (!this.#session.largeAnswers.drop(request)) request.carrier?.abandon(request)
    const told = withTrace(request, envelope)
    request.setAnswer(told, 0, told.length)
    give(request, this.#session)
  }

  /** Whether the node acted is unknown: no answer is made up, the client's connection ends and its driver decides. */
  onLost(request: Request): void {
    this.#session.largeAnswers.drop(request)
    recordLost(request, this.#session, 'connection to the node lost')
    this.#session.client.close('connection to the node lost')
  }

  /** A fault in one of these calls. The client cannot be told any more, so its session ends. */
  onFault(reason: unknown): void {
    this.#session.onFault(reason)
  }

  /** With the stage behind the one in which the answer waited. */
  #goOn(request: Request): void {
    const { answerStages } = this.#ways
    try {
      for (let at = request.answerStage + 1; at < answerStages.length; at++) {
        request.answerStage = at
        const step = answerStages[at]!(request, this.#session)
        if (step === Step.NEXT) continue
        keptWhere(step, request)
        return
      }
    } catch (reason) {
      this.failed(request, reason)
    }
  }

  /** Another answer than the node's, for the record and the client. */
  #replace(request: Request, envelope: Buffer, code: number): void {
    request.setAnswer(envelope, 0, envelope.length)
    request.code = code
    request.rows = -1
    record(request, this.#session)
  }
}

function keptWhere(step: Step, request: Request): void {
  assert(step !== Step.WAIT || request.kept, 'a request whose answer waits is kept, or it would be used again')
}

/** The outcome of a request is not known. */
export function recordLost(request: Request, { transactions, shared }: Session, why: string): void {
  request.latencyMicros = request.ageMicros(shared.turn.nowMicros())
  if (transactions.traces !== undefined) traceSlow(transactions.traces, request)
  lost(request, { transactions }, why)
}

/** What is wrong with one answer is wrong with its request only: the client's bytes can be trusted as before, and its connection goes on. */
function ofAnswer(reason: unknown): unknown {
  if (!(reason instanceof RingfenceError) || !cqlFault(reason).fatal) return reason
  const code = reason.code === 'TOO_LARGE' ? 'INVALID' : 'UPSTREAM'
  return new RingfenceError(code, `the answer cannot be given: ${reason.message}`, { cause: reason })
}
