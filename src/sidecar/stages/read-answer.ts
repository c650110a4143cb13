/** What the answer is: the kind of a RESULT, or the code of an ERROR. */
import { mayNameRole, withoutRoleName } from '../../cql/answers/role.ts'
import { envelopeHeaderBytes, headerFlags, headerOpcode, Opcode } from '../../cql/protocol.ts'
import { bodyStart, errorCode } from '../../cql/responses.ts'
import type { Request } from '../request.ts'
import { Step } from './stage.ts'

export function readAnswer(request: Request): Step {
  const { answer, answerStart, answerEnd } = request
  const at =
    headerFlags(answer, answerStart) === 0
      ? answerStart + envelopeHeaderBytes
      : bodyStart(answer, answerStart, answerEnd)
  request.rows = -1
  if (headerOpcode(answer, answerStart) === Opcode.RESULT) {
    request.resultKind = answer.readInt32BE(at)
    request.code = -1
    return Step.NEXT
  }
  request.resultKind = 0
  request.code = answer.readInt32BE(at)
  if (!mayNameRole(request.code)) return Step.NEXT
  const changed = withoutRoleName(answer, answerStart, answerEnd)
  if (changed === undefined) return Step.NEXT
  request.setAnswer(changed, 0, changed.length)
  request.code = errorCode(changed, 0, changed.length)
  return Step.NEXT
}
