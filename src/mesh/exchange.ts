/** How one asks for a certificate with a token (RFC 8693): a form goes in, JSON comes out, faults as RFC 6749 §5.2 has them. */
import { z } from 'zod'
import { limits } from '../base/limits.ts'
import { isPresigned } from '../identity/aws/presigned.ts'
import { csrPem } from './enrolment.ts'

export const exchangePath = '/v1/exchange'
export const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange'

const usualType = 'urn:ietf:params:oauth:token-type:jwt'
/** What no registry has a name for. */
const ofRingfence = 'urn:ringfence:params:oauth:token-type:'
/** `aws-sts-v1.…`: a pre-signed GetCallerIdentity. */
const presignedType = `${ofRingfence}aws-sts`
export const certificateType = `${ofRingfence}x509-svid`
/** All of them are JSON Web Tokens here. */
const tokenTypes: ReadonlySet<string> = new Set([
  usualType,
  'urn:ietf:params:oauth:token-type:id_token',
  'urn:ietf:params:oauth:token-type:access_token',
])

/** What `subject_token_type` is to be for it. */
export function typeOfToken(token: string): string {
  return isPresigned(token) ? presignedType : usualType
}

export function isTypeOf(type: string, token: string): boolean {
  return isPresigned(token) ? type === presignedType : tokenTypes.has(type)
}

/** Parameters that are not known are passed over (RFC 6749 §3.2). */
export const exchangeRequest = z.object({
  grant_type: z.string(),
  subject_token: z.string().min(1).max(limits.authMessageBytesMax),
  subject_token_type: z.string(),
  requested_token_type: z.string().optional(),
  /** Ours: the key that the certificate is to be of. */
  csr: csrPem,
  audience: z.string().optional(),
  resource: z.string().optional(),
  scope: z.string().optional(),
  actor_token: z.string().optional(),
})
export type ExchangeRequest = z.infer<typeof exchangeRequest>

export const exchangeAnswer = z.object({
  /** As RFC 8693 calls whatever is issued: the certificate and the one that signed it, PEM. */
  access_token: z.string(),
  issued_token_type: z.literal(certificateType),
  token_type: z.literal('N_A'),
  /** Seconds. */
  expires_in: z.number(),
  spiffe_id: z.string(),
  /** Roots of the trust domain, PEM. */
  bundle: z.string(),
  /** See `Authorities`. */
  bundle_sequence: z.int().nonnegative().optional(),
  /** The control plane's clock, milliseconds since 1970. */
  now_ms: z.number(),
})
export type ExchangeAnswer = z.infer<typeof exchangeAnswer>

export const exchangeFault = z.object({ error: z.string(), error_description: z.string().optional() })
