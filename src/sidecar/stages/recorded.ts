/** Nothing goes on while what happens cannot be written down. */
import { RingfenceError } from '../../base/errors.ts'
import type { Request } from '../request.ts'
import { type Session, Step } from './stage.ts'

export function recorded(_request: Request, session: Session): Step {
  refuseUnrecorded(session)
  return Step.NEXT
}

/** Throws OVERLOADED. */
export function refuseUnrecorded({ transactions }: Pick<Session, 'transactions'>): void {
  if (!transactions.blocked) return
  throw new RingfenceError('OVERLOADED', 'the audit record cannot be written, so nothing is forwarded')
}
