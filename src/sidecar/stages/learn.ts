/** What changes the session is taken from the node's answer, never from the request. */
import { RingfenceError } from '../../base/errors.ts'
import { ResultKind } from '../../cql/protocol.ts'
import { readPrepared, readSchemaChange, readSetKeyspace } from '../../cql/responses.ts'
import { driverKeyspaces } from '../../policy/builtin.ts'
import { confirms } from '../confirm.ts'
import { columnsDigest } from '../envelopes.ts'
import type { Request } from '../request.ts'
import { type Session, Step } from './stage.ts'

export function learn(request: Request, session: Session): Step {
  switch (request.resultKind) {
    case ResultKind.PREPARED:
      learnPrepared(request, session)
      break
    case ResultKind.SET_KEYSPACE:
      adoptKeyspace(request, session)
      break
    case ResultKind.SCHEMA_CHANGE: {
      session.shared.schema.changed(readSchemaChange(request.answer).keyspace)
    }
  }
  return Step.NEXT
}

/** The node's id now means this statement, to this identity. An id that meant another text is a forgery. */
function learnPrepared(request: Request, { version, identity, shared }: Session): void {
  const { answer, carrier } = request
  const judged = request.judged!
  const prepared = readPrepared(answer, version)
  const { id } = prepared
  if (!confirms(judged.facts, prepared)) {
    shared.disagreements.count('tables')
    shared.log.error({ statement: judged.facts.redacted }, 'the node read other tables in a statement than we did')
    throw new RingfenceError('UNAUTHORIZED', 'the node and the mesh read this statement differently, so it is refused')
  }
  const known = identity.prepared.find(id, 0, id.length)?.judged
  const other =
    known !== undefined && (known.text !== judged.text || (judged.keyspaceCounts && known.keyspace !== judged.keyspace))
  if (other) {
    shared.disagreements.count('prepared id')
    shared.log.error({ id: id.toString('hex') }, 'the node gave one prepared id to two statements')
    carrier?.destroy('one prepared id for two statements')
    throw new RingfenceError('UPSTREAM', 'the node gave one prepared id to two statements')
  }
  if (judged.facts.verb === 'SELECT' && driverKeyspaces.has(judged.facts.keyspace ?? '')) {
    shared.schemaAnswers.questions.prepared(judged, prepared)
  }
  identity.prepared.set(id, judged)?.columnDigests.set(version, columnsDigest(answer))
}

function adoptKeyspace({ answer, judged, carrier }: Request, { dispatch, shared }: Session): void {
  const keyspace = readSetKeyspace(answer)
  if (judged?.facts.use !== keyspace || carrier?.keyspace !== keyspace) {
    shared.disagreements.count('keyspace')
    carrier?.destroy('the keyspace of a shared connection changed')
    throw new RingfenceError('UPSTREAM', 'the node set another keyspace than was asked for')
  }
  dispatch.adopt(keyspace)
}
