/** Faults as RFC 6749 §5.2 has them, for a route whose callers are not of this mesh. */
import { RingfenceError } from '../base/errors.ts'

/** What RFC 6749 and RFC 8693 call it. */
export type OauthError =
  | 'invalid_request'
  | 'unsupported_grant_type'
  | 'invalid_target'
  | 'invalid_scope'
  | 'temporarily_unavailable'

export class OauthFault extends RingfenceError {
  readonly error: OauthError
  readonly status: number

  constructor(error: OauthError, message: string, status = 400) {
    super(status === 429 ? 'OVERLOADED' : status === 503 ? 'UNAVAILABLE' : 'IDENTITY', message)
    this.error = error
    this.status = status
  }
}

export interface OauthAnswer {
  readonly status: number
  readonly body: { readonly error: OauthError; readonly error_description: string }
}

/** Undefined for a fault of our own. */
export function oauthAnswer(reason: unknown): OauthAnswer | undefined {
  const fault = oauthFault(reason)
  if (fault === undefined) return undefined
  // RFC 6749 §5.2 allows ASCII without quotation mark and backslash.
  const words = fault.message.replace(/["\\]/g, "'").replace(/[^ -~]/g, '?')
  return { status: fault.status, body: { error: fault.error, error_description: words } }
}

function oauthFault(reason: unknown): OauthFault | undefined {
  if (reason instanceof OauthFault) return reason
  if (reason instanceof RingfenceError) {
    const { code, message } = reason
    if (code === 'OVERLOADED') return new OauthFault('temporarily_unavailable', message, 429)
    if (code === 'UNAVAILABLE') return new OauthFault('temporarily_unavailable', message, 503)
    return new OauthFault('invalid_request', message)
  }
  // Of the server itself: a body that is too long, or no form.
  const status = reason instanceof Error && 'statusCode' in reason ? Number(reason.statusCode) : 500
  if (status === 413) return new OauthFault('invalid_request', 'the request is too long', 413)
  return status < 500
    ? new OauthFault('invalid_request', 'the body is to be a form: application/x-www-form-urlencoded')
    : undefined
}
