/**
 * The single place where a failure becomes the CQL error that a driver knows.
 */

import type { ErrorCode } from '../base/errors.ts'
import { RingfenceError } from '../base/errors.ts'
import { CqlErrorCode } from '../cql/protocol.ts'

export interface CqlFault {
  readonly code: number
  readonly message: string
  /** True where the bytes can no longer be trusted: the connection ends after the answer. */
  readonly fatal: boolean
  /** True for a fault of ours, which belongs in the log. */
  readonly ours: boolean
}

const answers: { readonly [K in ErrorCode]?: { readonly code: number; readonly fatal: boolean } } = {
  PROTOCOL: { code: CqlErrorCode.PROTOCOL_ERROR, fatal: true },
  VERSION: { code: CqlErrorCode.PROTOCOL_ERROR, fatal: true },
  // A whole request that may not be so large costs that request. Before READY its connection ends (`ClientConnection`).
  TOO_LARGE: { code: CqlErrorCode.INVALID, fatal: false },
  CHECKSUM: { code: CqlErrorCode.PROTOCOL_ERROR, fatal: true },
  SYNTAX: { code: CqlErrorCode.SYNTAX_ERROR, fatal: false },
  INVALID: { code: CqlErrorCode.INVALID, fatal: false },
  UNAUTHORIZED: { code: CqlErrorCode.UNAUTHORIZED, fatal: false },
  CREDENTIALS: { code: CqlErrorCode.BAD_CREDENTIALS, fatal: false },
  OVERLOADED: { code: CqlErrorCode.OVERLOADED, fatal: false },
  UNAVAILABLE: { code: CqlErrorCode.OVERLOADED, fatal: false },
  // Every driver asks another host, some of them for this code only where the request is not idempotent.
  LEAVING: { code: CqlErrorCode.IS_BOOTSTRAPPING, fatal: false },
  UPSTREAM: { code: CqlErrorCode.SERVER_ERROR, fatal: false },
  LINK: { code: CqlErrorCode.SERVER_ERROR, fatal: true },
}

/** What to tell the client of `reason`. Our own faults are not described to it. */
export function cqlFault(reason: unknown): CqlFault {
  if (reason instanceof RingfenceError) {
    const answer = answers[reason.code]
    if (answer !== undefined) return { ...answer, message: reason.message, ours: false }
  }
  return { code: CqlErrorCode.SERVER_ERROR, message: 'internal error in the mesh', fatal: true, ours: true }
}
