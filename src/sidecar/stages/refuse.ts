/** What is denied is answered here. */
import { Opcode } from '../../cql/protocol.ts'
import { deny } from '../ending.ts'
import type { Request } from '../request.ts'
import { refusalMs } from './admit.ts'
import { inDoubt, lookedUp, putOff } from './delays.ts'
import { type Session, Step } from './stage.ts'

/** Nothing is judged by a schema that is known to be older than a change. */
export function settleSchema(request: Request, session: Session): Step {
  if (request.opcode === Opcode.BATCH) return Step.NEXT
  return inDoubt(request, session, request.judged!) ? Step.WAIT : Step.NEXT
}

/** A permit for a table that is not in the known schema is decided again after the schema was read. */
export function lookUp(request: Request, session: Session): Step {
  const { judged, permit, opcode, given } = request
  if (permit === undefined || opcode === Opcode.BATCH || given !== undefined) return Step.NEXT
  return judged!.unknownTable && lookedUp(request, session, judged!) ? Step.WAIT : Step.NEXT
}

export function refuse(request: Request, session: Session): Step {
  const { denial, opcode } = request
  if (denial === undefined) return Step.NEXT
  const { share } = session.identity
  if (opcode !== Opcode.BATCH) {
    if (denial.invalid === true && lookedUp(request, session, request.judged!)) return Step.WAIT
    if (share.exhausted) return putOff(request, session)
  }
  share.charge(refusalMs)
  deny(request, session, denial)
  return Step.DONE
}
