/**
 * Why a log-in is refused. The cause is for the log, the record and `ringfence identity why`; what the client hears of it is for the door
 * to say (`session/refusals.ts`).
 */
import { RingfenceError } from '../base/errors.ts'

/**
 * `unavailable`: nobody could be verified now. `temporary`: the same client may come in later, with another piece of evidence or without.
 * `permanent`: it comes in only after somebody has changed something.
 */
export type RefusalClass = 'unavailable' | 'temporary' | 'permanent'

/** Every cause of a refusal, with its class. The words stand in the record. */
export const refusalClasses = {
  'no-keys': 'unavailable',
  'unknown-key': 'temporary',
  expired: 'temporary',
  'not-yet-valid': 'temporary',
  replayed: 'temporary',
  'verifier-away': 'temporary',
  'too-many-attempts': 'temporary',
  malformed: 'permanent',
  'too-long': 'permanent',
  type: 'permanent',
  algorithm: 'permanent',
  signature: 'permanent',
  issuer: 'permanent',
  audience: 'permanent',
  'authorized-party': 'permanent',
  lifetime: 'permanent',
  claims: 'permanent',
  group: 'permanent',
  'user-name': 'permanent',
  account: 'permanent',
  'not-supported': 'permanent',
  certificate: 'permanent',
  revoked: 'permanent',
  other: 'permanent',
} as const satisfies Record<string, RefusalClass>

export type RefusalCause = keyof typeof refusalClasses

/** Of what another process says; an older one does not know all that a newer one says. */
export function isRefusalCause(text: string): text is RefusalCause {
  return Object.hasOwn(refusalClasses, text)
}

/** What may be told of evidence that was refused. Fields that a token claims are no more than claims where its signature was not good. */
export interface RefusedEvidence {
  readonly provider?: string | undefined
  readonly issuer?: string | undefined
  readonly tokenId?: string | undefined
  /** SHA-256 in hexadecimal. */
  readonly hash?: string | undefined
  /** `<provider>/<subject>` or a SPIFFE id, as it is claimed. */
  readonly claimed?: string | undefined
}

export class LogInRefused extends RingfenceError {
  readonly why: RefusalCause
  readonly evidence: RefusedEvidence
  /** For the client, where it may hear more than that it is refused: it never quotes the evidence. */
  readonly words: string | undefined

  constructor(
    why: RefusalCause,
    message: string,
    options: { evidence?: RefusedEvidence; words?: string; cause?: unknown } = {},
  ) {
    super('IDENTITY', message, options.cause === undefined ? {} : { cause: options.cause })
    this.why = why
    this.evidence = options.evidence ?? {}
    this.words = options.words
  }

  /** The same, with more of what is known. */
  with(evidence: RefusedEvidence): LogInRefused {
    const { why, message, words, cause } = this
    return new LogInRefused(why, message, {
      evidence: { ...evidence, ...this.evidence },
      ...(words === undefined ? {} : { words }),
      cause,
    })
  }
}

export function refusalClass(reason: unknown): RefusalClass {
  return reason instanceof LogInRefused ? refusalClasses[reason.why] : 'permanent'
}
