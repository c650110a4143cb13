import { CqlErrorCode } from '../../cql/protocol.ts'
import type { Request } from '../request.ts'
import { type Session, Step } from './stage.ts'

/** The node does not have the statement any more, or never had it (`reprepare.ts`). */
export function prepareAgain(request: Request, session: Session): Step {
  if (request.code !== CqlErrorCode.UNPREPARED) return Step.NEXT
  return session.repreparer.again(request) ? Step.WAIT : Step.NEXT
}
