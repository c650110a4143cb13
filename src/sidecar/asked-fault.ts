/** What a client hears where its question was put to the node by the sidecar, and that failed. */

import { RingfenceError } from '../base/errors.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { CqlErrorCode } from '../cql/protocol.ts'
import { readError } from '../cql/responses.ts'
import { cqlFault } from '../session/fault.ts'
import { NodeError } from './node-error.ts'

/** The node's other errors are more than a code and a message, and say nothing about a question's text. */
const plainErrors: ReadonlySet<number> = new Set([
  CqlErrorCode.SYNTAX_ERROR,
  CqlErrorCode.INVALID,
  CqlErrorCode.UNAUTHORIZED,
  CqlErrorCode.OVERLOADED,
  CqlErrorCode.SERVER_ERROR,
  CqlErrorCode.IS_BOOTSTRAPPING,
])

export interface AskedFault {
  readonly code: number
  readonly message: string
  /** A fault of ours, or one after which the connection ends. */
  readonly ours: boolean
}

export function askedFault(reason: unknown): AskedFault {
  if (reason instanceof NodeError) {
    const { code, message } = readError(wholeEnvelope(reason.envelope))
    if (plainErrors.has(code)) return { code, message, ours: false }
  }
  if (reason instanceof RingfenceError && reason.code === 'UPSTREAM') {
    return { code: CqlErrorCode.OVERLOADED, message: 'the node behind this sidecar is not reachable', ours: false }
  }
  const { code, message, ours, fatal } = cqlFault(reason)
  return { code, message, ours: ours || fatal }
}
