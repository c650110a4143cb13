/** Off to the node, by a connection that has the session's keyspace. */
import type { Request } from '../request.ts'
import { reopen } from './delays.ts'
import { type Session, Step } from './stage.ts'

export function send(request: Request, session: Session): Step {
  return session.dispatch.send(request) ? Step.WAIT : reopen(request, session)
}
