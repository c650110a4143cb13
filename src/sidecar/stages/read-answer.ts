/** What the answer is: the kind of a RESULT, or the code of an ERROR. */
import { mayNameRole, withoutRoleName } from '../../cql/answers/role.ts'
import { envelopeHeaderBytes, headerFlags, headerOpcode, Opcode } from '../../cql/protocol.ts'
import { bodyStart, errorCode } from '../../cql/responses.ts'
import type { Request } from '../request.ts'
import { Step } from './stage.ts'

export function readAnswer(request: Request): Step {
  const { answer } = request
  const { bytes, start } = answer
  const at = headerFlags(bytes, start) === 0 ? start + envelopeHeaderBytes : bodyStart(answer)
  request.rows = -1
  if (headerOpcode(bytes, start) === Opcode.RESULT) {
    request.resultKind = bytes.readInt32BE(at)
    request.code = -1
    return Step.NEXT
  }
  request.resultKind = 0
  request.code = bytes.readInt32BE(at)
  if (!mayNameRole(request.code)) return Step.NEXT
  const changed = withoutRoleName(answer)
  if (changed === undefined) return Step.NEXT
  request.setAnswer(changed, 0, changed.length)
  request.code = errorCode(answer)
  return Step.NEXT
}
