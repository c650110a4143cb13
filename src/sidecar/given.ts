/**
 * Questions about the topology that a client behind NGINX sees. The topology is the gateway's, so the gateway makes the answer and sends it
 * ahead of the question. Here the question is judged and recorded, and the answer given to the client, like an answer of the node.
 */
import { wholeEnvelope } from '../cql/envelope.ts'
import { headerOpcode, Opcode, ResultKind } from '../cql/protocol.ts'
import { bodyStart, readError, readPrepared, rowsCount } from '../cql/responses.ts'
import { givenId } from '../link/given-id.ts'
import { confirms } from './confirm.ts'
import type { OwnAnswer } from './ending.ts'
import { columnsDigest } from './envelopes.ts'
import { changesRows, incomingRows, type Passage, withObserved } from './rewrites.ts'
import type { Secrets } from './secrets.ts'

/**
 * The answer as the client may have it; undefined for one that is no answer to this. Remembers the id of a PREPARED, which must be the one
 * that its text has: under another the node may know a statement, and this question's permit would let that one through.
 */
export function givenAnswer(
  question: Passage,
  secrets: Secrets,
  request: Buffer,
  given: Buffer,
): OwnAnswer | undefined {
  const { version, opcode, judged, permit, identity } = question
  const answer = wholeEnvelope(given)
  let envelope = given
  let [code, message, rows] = [-1, '', -1]
  if (headerOpcode(given, 0) === Opcode.ERROR) ({ code, message } = readError(answer))
  else {
    if (headerOpcode(given, 0) !== Opcode.RESULT) return undefined
    const kind = given.readInt32BE(bodyStart(answer))
    if (kind !== (opcode === Opcode.PREPARE ? ResultKind.PREPARED : ResultKind.ROWS)) return undefined
    if (kind === ResultKind.PREPARED) {
      const prepared = readPrepared(answer, version)
      if (!confirms(judged.facts, prepared) || !prepared.id.equals(givenId(judged.text))) return undefined
      identity.prepared.set(prepared.id, judged)?.columnDigests.set(version, columnsDigest(answer))
    } else {
      if (changesRows(permit)) envelope = incomingRows(question, secrets, request, answer)
      rows = rowsCount(wholeEnvelope(envelope), version)
    }
  }
  if (permit.observed !== undefined) envelope = withObserved(wholeEnvelope(envelope), version, permit.observed)
  return { envelope, code, message, rowCount: rows }
}
