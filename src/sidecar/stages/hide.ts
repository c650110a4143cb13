/** What a client behind a gateway is not shown, and what it is told beside its answer. */
import { withoutAddresses } from '../../cql/answers/addresses.ts'
import type { Request } from '../request.ts'
import { withObserved } from '../rewrites.ts'
import { type Session, Step } from './stage.ts'

export function hideAddresses(request: Request, { topologyHidden, version }: Session): Step {
  if (!topologyHidden) return Step.NEXT
  const changed = withoutAddresses(request.answer, request.answerStart, request.answerEnd, version)
  if (changed !== undefined) request.setAnswer(changed, 0, changed.length)
  return Step.NEXT
}

export function tellObserved(request: Request, { version }: Session): Step {
  const { answer, answerStart, answerEnd } = request
  const observed = request.permit?.observed
  if (observed === undefined) return Step.NEXT
  const changed = withObserved(answer.subarray(answerStart, answerEnd), version, observed)
  request.setAnswer(changed, 0, changed.length)
  return Step.NEXT
}
