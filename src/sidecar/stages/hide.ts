/** What a client behind a gateway is not shown, and what it is told beside its answer. A long answer is written anew in steps. */
import { mayHaveAddresses, withoutAddresses, withoutAddressesInSteps } from '../../cql/answers/addresses.ts'
import { longEnvelopeBytes, ownBytes } from '../../cql/own-bytes.ts'
import type { Request } from '../request.ts'
import { withObserved, withObservedInWindows } from '../rewrites.ts'
import { type Session, Step } from './stage.ts'

export function hideAddresses(request: Request, { topologyHidden, version, largeAnswers }: Session): Step {
  const { answer, answerStart: start, answerEnd: end } = request
  if (!topologyHidden || !mayHaveAddresses(answer, start)) return Step.NEXT
  if (end - start > longEnvelopeBytes) {
    largeAnswers.begin(request, withoutAddressesInSteps(ownBytes(answer, start, end)), end - start)
    return Step.WAIT
  }
  const changed = withoutAddresses(answer, start, end, version)
  if (changed !== undefined) request.setAnswer(changed, 0, changed.length)
  return Step.NEXT
}

export function tellObserved(request: Request, { version, largeAnswers }: Session): Step {
  const { answer, answerStart: start, answerEnd: end } = request
  const observed = request.permit?.observed
  if (observed === undefined) return Step.NEXT
  if (end - start > longEnvelopeBytes) {
    largeAnswers.begin(request, withObservedInWindows(ownBytes(answer, start, end), version, observed), end - start)
    return Step.WAIT
  }
  const changed = withObserved(answer.subarray(start, end), version, observed)
  request.setAnswer(changed, 0, changed.length)
  return Step.NEXT
}
