/** Rows as the client may have them. A large answer is changed in slices, under its client's share of the loop (`large-answers.ts`). */
import { assert } from '../../base/errors.ts'
import { longEnvelopeBytes, ownBytes } from '../../cql/own-bytes.ts'
import { ResultKind } from '../../cql/protocol.ts'
import { hasMorePages, rowsCount } from '../../cql/responses.ts'
import type { Request } from '../request.ts'
import { changesRows, incomingRows, incomingRowsSliced, type Passage, paramsOf, permitOfAnswer } from '../rewrites.ts'
import { hasLongValues } from '../values-digest.ts'
import { passageOf } from './passage.ts'
import { type Session, Step } from './stage.ts'

/** As many values as these bytes can hold are hashed in a few milliseconds. */
const changedAtOnceBytesMax = 16 * 1024

export function changeRows(request: Request, session: Session): Step {
  if (request.resultKind !== ResultKind.ROWS) return Step.NEXT
  const { answer, bytesOut, permit } = request
  const { shared, identity } = session
  const changes = changesRows(permit!)
  if (!changes && !hasMorePages(answer)) {
    countRows(request, session)
    return Step.NEXT
  }
  const sent = sentBytes(request)
  // What is only copied takes a hundredth of the time.
  const { share } = identity
  const longValues = longValuesOf(request, session, sent)
  const isLong = longValues !== undefined || bytesOut > (changes ? changedAtOnceBytesMax : longEnvelopeBytes)
  if (isLong || !share.begin()) {
    const own = ownBytes(answer)
    const passage = passageOfAnswer(request, session, sent, own)
    const slices = incomingRowsSliced(passage, shared.secrets, sent, own, longValues)
    session.largeAnswers.begin(request, slices, own.length + (longValues?.length ?? 0))
    return Step.WAIT
  }
  try {
    const passage = passageOfAnswer(request, session, sent, answer.bytes.subarray(answer.start, answer.end))
    const changed = incomingRows(passage, shared.secrets, sent, answer)
    request.setAnswer(changed, 0, changed.length)
  } finally {
    share.end()
  }
  countRows(request, session)
  return Step.NEXT
}

/** A copy of the values that have to be hashed for the answer's paging state, where they are long and were not hashed when they came. */
function longValuesOf(request: Request, { version }: Session, sent: Buffer): Buffer | undefined {
  const { answer, opcode, valuesDigest } = request
  if (valuesDigest !== undefined || !hasMorePages(answer)) return undefined
  const params = paramsOf({ opcode, version }, sent)
  if (params === undefined || !hasLongValues(params)) return undefined
  return Buffer.from(params.buffer.subarray(params.valuesStart, params.valuesEnd))
}

export function countRows(request: Request, { version }: Session): void {
  request.rows = rowsCount(request.answer, version)
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
