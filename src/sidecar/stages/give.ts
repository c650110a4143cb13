/** The end of an answer's way. */
import { Opcode } from '../../cql/protocol.ts'
import { readError } from '../../cql/responses.ts'
import type { Request } from '../request.ts'
import { traceSlow, withTrace } from '../traced.ts'
import { type Session, Step } from './stage.ts'

export function record(request: Request, { transactions, shared }: Session): Step {
  request.latencyMicros = request.ageMicros(shared.turn.nowMicros())
  request.outcome = request.code < 0 ? 'ok' : 'error'
  if (request.code >= 0) {
    request.message = readError(request.answer).message
    request.messageIsOurs = false
  }
  const { traces } = transactions
  if (traces !== undefined) {
    traceSlow(traces, request)
    if (request.code >= 0 && request.trace !== undefined) tellTrace(request)
  }
  transactions.ended(request)
  return Step.NEXT
}

function tellTrace(request: Request): void {
  const { bytes, start, end } = request.answer
  const told = withTrace(request, bytes.subarray(start, end))
  request.setAnswer(told, 0, told.length)
}

/** An answer does not leave while its record is not written. The client is disconnected instead. */
export function give(request: Request, session: Session): Step {
  const { client, transactions } = session
  const { bytes, start, end } = request.answer
  if (transactions.blocked) client.close('the audit record cannot be written')
  else client.answer(bytes, start, end, request.stream)
  letGoAfterUse(request, session)
  return Step.DONE
}

/** A USE was answered, whatever the answer was. */
export function letGoAfterUse({ judged, opcode }: Request, { waiting }: Session): void {
  if (judged?.facts.use !== undefined && opcode !== Opcode.PREPARE) waiting.letGo()
}
