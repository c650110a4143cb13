/** An error that the node answered to a request of the sidecar's own. */

import { RingfenceError } from '../base/errors.ts'
import { withoutRoleName } from '../cql/answers/role.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { keptMessage } from '../cql/kept-messages.ts'
import { headerOpcode, Opcode } from '../cql/protocol.ts'
import { readError } from '../cql/responses.ts'

export class NodeError extends RingfenceError {
  /** Can be handed on to the client: it does not name the mesh's role. */
  readonly envelope: Buffer

  constructor(message: string, envelope: Buffer) {
    super('UPSTREAM', message)
    this.envelope = envelope
  }
}

export function nodeError(answer: Buffer): RingfenceError {
  if (headerOpcode(answer, 0) !== Opcode.ERROR) {
    return new RingfenceError('UPSTREAM', `the node answered with opcode ${headerOpcode(answer, 0)}`)
  }
  const envelope = withoutRoleName(wholeEnvelope(answer)) ?? answer
  const { code, message } = readError(wholeEnvelope(envelope))
  // Its message comes into logs.
  return new NodeError(keptMessage(code, message), envelope)
}
