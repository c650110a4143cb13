/**
 * An answer that the sidecar makes has no trace at the node. If a client that may read traces asks for one, the node is asked a question of
 * the sidecar's own (`NodeMonitor.trace`) and traces that. So the id in the answer leads to a trace that is there, and that says what the
 * node was asked.
 */
import { settle } from '../../base/contained.ts'
import { Flag } from '../../cql/protocol.ts'
import type { Request } from '../request.ts'
import { isDescription, isSchemaQuestion } from '../schema-answers.ts'
import { mayTrace } from './rewrite.ts'
import { type Session, Step } from './stage.ts'

const none = Buffer.alloc(0)

export function trace(request: Request, session: Session): Step {
  if ((request.flags & Flag.TRACING) === 0 || request.tracingId !== undefined) return Step.NEXT
  if (!isAnsweredHere(request) || !mayTrace(session)) return Step.NEXT
  return awaitTrace(request, session)
}

function awaitTrace(request: Request, session: Session): Step {
  const { waiting, shared } = session
  const goOn = (id: Buffer): void => {
    request.tracingId = id
    waiting.letGo()
  }
  waiting.begin(request)
  // A node that is away traces nothing, which is no reason to refuse what is answered without it.
  settle(session, 'a trace of the node', shared.trace(), goOn, () => goOn(none))
  return Step.WAIT
}

/** PREPARE and BATCH are the node's, but where the gateway gave the answer. */
function isAnsweredHere({ given, params, judged, permit }: Request): boolean {
  if (given !== undefined) return true
  return params !== undefined && (isSchemaQuestion(judged!, permit!) || isDescription(judged!, permit!))
}
