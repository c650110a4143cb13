/** Nothing goes on while what happens cannot be written down. */
import { refuseUnrecorded } from '../ending.ts'
import type { Request } from '../request.ts'
import { type Session, Step } from './stage.ts'

export function recorded(_request: Request, session: Session): Step {
  refuseUnrecorded(session)
  return Step.NEXT
}
