/** The decision of the policy and the schema in force. */
import type { Decision } from '../../policy/engine.ts'
import { BoundValues } from '../bound.ts'
import { checked } from '../checks.ts'
import type { Request } from '../request.ts'
import type { Judged } from '../statement.ts'
import { putOff } from './delays.ts'
import { type Session, Step } from './stage.ts'

const values = new BoundValues()

export function authorise(request: Request, session: Session): Step {
  // A BATCH is decided with its statements.
  if (request.decision !== undefined) return Step.NEXT
  const { params, opcode, consistency } = request
  const judged = request.judged!
  request.bound = params === undefined ? undefined : values.ofRequest(params, judged.facts.markers)
  const decision = decideWithin(session, judged, opcode, consistency, request.bound)
  if (decision === undefined) return putOff(request, session)
  decided(request, decision)
  return Step.NEXT
}

/** The permit's checks on bound values and options of the request. */
export function check(request: Request, { shared, identity }: Session): Step {
  const { permit, bound } = request
  if (permit !== undefined && bound !== undefined) decided(request, checked(shared.judge, identity, permit, bound))
  return Step.NEXT
}

export function decided(request: Request, decision: Decision): void {
  if (decision.kind === 'permit') request.permit = decision
  else request.denial = decision
}

/** Undefined where it has to wait for the client's next share of the loop. */
export function decideWithin(
  { shared, identity, context }: Session,
  judged: Judged,
  opcode: number,
  consistency: number,
  bound: BoundValues | undefined,
): Decision | undefined {
  const { judge } = shared
  if (judge.settled(identity, judged)) return judged.decision
  return judge.currentWithin(identity.share, identity, judged, context.set(opcode, consistency, judged.facts, bound))
}

/** Decides at once, for a statement that was decided before; a policy may have come since. */
export function decideNow(
  { shared, identity, context }: Session,
  judged: Judged,
  opcode: number,
  consistency = 0,
  bound?: BoundValues,
): Decision {
  return shared.judge.current(identity, judged, context.set(opcode, consistency, judged.facts, bound))
}
