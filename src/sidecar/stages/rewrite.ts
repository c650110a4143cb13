/** Changes what the node must not see as the client sent it: custom payloads, sealed paging states, the tracing flag. */
import { Opcode } from '../../cql/protocol.ts'
import { withoutPayload } from '../envelopes.ts'
import type { Request } from '../request.ts'
import { mustRewrite, outgoing } from '../rewrites.ts'
import { hasLongValues } from '../values-digest.ts'
import { hashValues } from './delays.ts'
import { passageOf } from './passage.ts'
import { type Session, Step } from './stage.ts'

export function rewrite(request: Request, session: Session): Step {
  const { permit, params, payloadStart, payloadEnd, flags } = request
  if (!mustRewrite(params, permit!, flags)) {
    if (payloadStart >= 0) request.rewrite(withoutPayload(request, payloadStart, payloadEnd))
    return Step.NEXT
  }
  if (
    params !== undefined &&
    params.pagingStateStart >= 0 &&
    hasLongValues(params) &&
    request.valuesDigest === undefined
  )
    return hashValues(request, session)
  change(request, session)
  return Step.NEXT
}

function change(request: Request, session: Session): void {
  const { payloadStart, payloadEnd, start } = request
  const payload = payloadStart < 0 ? undefined : { payloadStart: payloadStart - start, payloadEnd: payloadEnd - start }
  const copy = Buffer.from(request.view())
  request.rewrite(outgoing(passageOf(request, session), payload, copy, session.shared.secrets, () => mayTrace(session)))
}

/** Whether who asks may read what the node writes down of a request that is traced. */
export function mayTrace({ shared, identity, context }: Session): boolean {
  return shared.judge.mayTrace(identity, (facts) => context.set(Opcode.QUERY, 0, facts, undefined))
}
