/** The statement of a request: by its prepared id, or by its text, which is read where it has not come before. */
import { RingfenceError } from '../../base/errors.ts'
import { CqlErrorCode, Opcode } from '../../cql/protocol.ts'
import { inlineTextMax } from '../analyst.ts'
import { noSuchId, refused } from '../ending.ts'
import { unknownId } from '../envelopes.ts'
import type { Request } from '../request.ts'
import type { Judged } from '../statement.ts'
import { refuseResolvedOnce } from '../statement.ts'
import { withTrace } from '../traced.ts'
import { refusalMs } from './admit.ts'
import { putOff, readElsewhere } from './delays.ts'
import { type Session, Step } from './stage.ts'

export function recall(request: Request, session: Session): Step {
  if (request.opcode === Opcode.BATCH) return Step.NEXT
  if (request.opcode === Opcode.EXECUTE) {
    const { bytes, idStart, idEnd } = request
    const prepared = session.identity.prepared.find(bytes, idStart, idEnd)
    if (prepared === undefined) return unprepared(request, session, bytes.subarray(idStart, idEnd))
    request.judged = prepared.judged
    return Step.NEXT
  }
  // One that waited has it already.
  request.judged ??= statementOf(request, session, request.text, request.keyspace ?? session.dispatch.keyspace)
  return request.judged === undefined ? Step.WAIT : Step.NEXT
}

/** Some statements mean what their names mean where the node runs them; see `isResolvedLate`. */
export function resolveLate(request: Request, session: Session): Step {
  const { judged, opcode } = request
  if (judged === undefined || !judged.resolvedLate || opcode === Opcode.PREPARE) return Step.NEXT
  const resolved = statementOf(request, session, judged.text, session.dispatch.keyspace)
  if (resolved === undefined) return Step.WAIT
  if (opcode === Opcode.EXECUTE) refuseResolvedOnce(resolved.facts)
  request.judged = resolved
  return Step.NEXT
}

/** Undefined where the text has to be read elsewhere or later; the request waits then. */
export function statementOf(request: Request, session: Session, text: string, keyspace: string): Judged | undefined {
  const { judge } = session.shared
  const { identity } = session
  const known = judge.remembered(identity, text, keyspace)
  if (known !== undefined) return known
  const analysed = request.known?.get(text)
  if (analysed !== undefined && 'code' in analysed) throw new RingfenceError(analysed.code, analysed.message)
  if (analysed === undefined && text.length > inlineTextMax) {
    readElsewhere(request, session, text)
    return undefined
  }
  const { share } = identity
  if (!share.begin()) {
    putOff(request, session)
    return undefined
  }
  try {
    return judge.read(identity, text, keyspace, analysed?.facts)
  } finally {
    share.end()
  }
}

/** The driver prepares again. */
export function unprepared(request: Request, session: Session, id: Buffer): Step {
  const envelope = unknownId(session.version, request.stream, id)
  refused(request, session, noSuchId, CqlErrorCode.UNPREPARED, 'unknown prepared id')
  session.identity.share.charge(refusalMs)
  const told = withTrace(request, envelope)
  session.client.answer(told, 0, told.length, request.stream)
  return Step.DONE
}
