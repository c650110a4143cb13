/** The node's cache of prepared statements is everyone's: what one identity adds to it is bounded (see `prepared.ts`). */
import { limits } from '../../base/limits.ts'
import { CqlErrorCode, Opcode } from '../../cql/protocol.ts'
import { deny } from '../ending.ts'
import { prepareRateRule } from '../prepared.ts'
import type { Request } from '../request.ts'
import { type Session, Step } from './stage.ts'

export function admit(request: Request, session: Session): Step {
  if (request.opcode !== Opcode.PREPARE || mayPrepare(request, session)) return Step.NEXT
  return shed(request, session)
}

/** Whether the node may be asked to prepare the statement. */
export function mayPrepare({ judged }: Request, { identity, shared }: Session): boolean {
  return identity.prepared.admits(judged!, shared.turn.nowMicros())
}

export function shed(request: Request, session: Session): Step {
  const text = `new statements are prepared faster than preparesPerSecondMax ${limits.preparesPerSecondMax}`
  const denial = session.shared.judge.refusal(session.identity, prepareRateRule, text)
  session.identity.share.charge(refusalMs)
  deny(request, session, denial, CqlErrorCode.OVERLOADED)
  return Step.DONE
}

/** What one refusal takes of the client's share of a turn, for its record and its answer: some hundred fit, and the rest waits. */
export const refusalMs = 0.015
