/** What a client behind a gateway is not shown, and what it is told beside its answer. A long answer is written anew in steps. */
import { mayHaveAddresses, withoutAddresses, withoutAddressesInSteps } from '../../cql/answers/addresses.ts'
import { longEnvelopeBytes, ownBytes } from '../../cql/own-bytes.ts'
import type { Request } from '../request.ts'
import { withObserved, withObservedInWindows } from '../rewrites.ts'
import { type Session, Step } from './stage.ts'

export function hideAddresses(request: Request, { topologyHidden, version, largeAnswers }: Session): Step {
  const { answer, bytesOut } = request
  if (!topologyHidden || !mayHaveAddresses(answer)) return Step.NEXT
  if (bytesOut > longEnvelopeBytes) {
    largeAnswers.begin(request, withoutAddressesInSteps(ownBytes(answer)), bytesOut)
    return Step.WAIT
  }
  const changed = withoutAddresses(answer, version)
  if (changed !== undefined) request.setAnswer(changed, 0, changed.length)
  return Step.NEXT
}

export function tellObserved(request: Request, { version, largeAnswers }: Session): Step {
  const { answer, bytesOut } = request
  const observed = request.permit?.observed
  if (observed === undefined) return Step.NEXT
  if (bytesOut > longEnvelopeBytes) {
    largeAnswers.begin(request, withObservedInWindows(ownBytes(answer), version, observed), bytesOut)
    return Step.WAIT
  }
  const changed = withObserved(answer, version, observed)
  request.setAnswer(changed, 0, changed.length)
  return Step.NEXT
}
