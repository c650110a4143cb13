/** Rows as the client may have them. A large answer is changed in slices, under its client's share of the loop (`large-answers.ts`). */
import { assert } from '../../base/errors.ts'
import { longEnvelopeBytes, ownBytes } from '../../cql/own-bytes.ts'
import { ResultKind } from '../../cql/protocol.ts'
import { hasMorePages, rowsCount } from '../../cql/responses.ts'
import type { Request } from '../request.ts'
import { changesRows, incomingRows, incomingRowsSliced, type Passage, permitOfAnswer } from '../rewrites.ts'
import { passageOf } from './passage.ts'
import { type Session, Step } from './stage.ts'

export function changeRows(request: Request, session: Session): Step {
  if (request.resultKind !== ResultKind.ROWS) return Step.NEXT
  const { answer, answerStart: start, answerEnd: end, permit } = request
  const { version, shared } = session
  if (!changesRows(permit!) && !hasMorePages(answer, start, end)) {
    request.rows = rowsCount(answer, start, end, version)
    return Step.NEXT
  }
  const sent = sentBytes(request)
  if (end - start > longEnvelopeBytes) {
    const own = ownBytes(answer, start, end)
    const passage = passageOfAnswer(request, session, sent, own)
    session.largeAnswers.begin(request, incomingRowsSliced(passage, shared.secrets, sent, own), own.length)
    return Step.WAIT
  }
  const passage = passageOfAnswer(request, session, sent, answer.subarray(start, end))
  setRows(request, session, incomingRows(passage, shared.secrets, sent, answer, start, end))
  return Step.NEXT
}

export function setRows(request: Request, { version }: Session, changed: Buffer): void {
  request.setAnswer(changed, 0, changed.length)
  request.rows = rowsCount(changed, 0, changed.length, version)
}

function passageOfAnswer(request: Request, session: Session, sent: Buffer, answer: Buffer): Passage {
  const passage = passageOf(request, session)
  const { context, shared } = session
  return { ...passage, permit: permitOfAnswer(passage, shared.judge, context, request.consistency, sent, answer) }
}

/** The request as it was forwarded; a view. */
export function sentBytes(request: Request): Buffer {
  assert(request.remembered && request.byteCount > 0, 'what may be needed again is kept until it is answered')
  return request.view()
}
