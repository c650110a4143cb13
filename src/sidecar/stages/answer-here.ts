/** What the sidecar answers itself, for those who may not see all of the schema. */
import { overloaded, Verdict } from '../../base/bytes-budget.ts'
import { settle } from '../../base/contained.ts'
import { Opcode } from '../../cql/protocol.ts'
import type { Request } from '../request.ts'
import { isDescription, isSchemaQuestion } from '../schema-answers.ts'
import { mayPrepare, shed } from './admit.ts'
import { type Session, Step } from './stage.ts'

/** A question about the schema: the node prepares it, and it is answered here (`catalog/`). */
export function answerSchemaQuestion(request: Request, session: Session): Step {
  const judged = request.judged!
  if (!isSchemaQuestion(judged, request.permit!)) return Step.NEXT
  const { questions } = session.shared.schemaAnswers
  questions.check(judged)
  if (request.opcode === Opcode.PREPARE) return Step.NEXT
  if (!questions.knows(judged) && !mayPrepare(request, session)) return shed(request, session)
  questions.take(session, request)
  return Step.WAIT
}

/** DESCRIBE of what may be seen (`describe/`). What comes meanwhile waits. */
export function describe(request: Request, session: Session): Step {
  if (request.params === undefined || !isDescription(request.judged!, request.permit!)) return Step.NEXT
  return answerDescription(request, session)
}

function answerDescription(request: Request, session: Session): Step {
  const { client, waiting, shared, transactions } = session
  if (client.account.take(request.byteCount) === Verdict.REFUSE) throw overloaded()
  waiting.begin()
  request.hold()
  transactions.begun(request)
  settle(session, 'a description', shared.schemaAnswers.descriptions.serve(session, request), () => {
    client.account.give(request.byteCount)
    waiting.letGo()
  })
  return Step.WAIT
}
