/**
 * An identity provider: who signs tokens, and what its tokens say of those who show them. A type of provider is one file of this folder
 * and its place in the list of `index.ts`; nothing outside knows which types there are.
 *
 *   token ─ readToken ─▶ which provider? ─ tokens(spec), its keys ─ verifyToken ─▶ identify(spec, claims) ─▶ who it is
 */
import type { z } from 'zod'
import type { DocumentPath } from '../../base/document.ts'
import type { StsProvider } from '../aws/sts.ts'
import type { TokenRules, UnverifiedToken, VerifiedToken } from '../jwt/verify.ts'
import type { SpiffeId } from '../spiffe.ts'
import type { Claims } from '../verified.ts'

/** `spec` of a document; what else it has, its type knows. */
export interface ProviderSpec {
  /** `ProviderType.name`. */
  readonly type: string
  /** See `tokenShape`, milliseconds. */
  readonly certificateLife: number
}

/** A document of kind `IdentityProvider`: plain data, which survives a structured clone. */
export interface ProviderDocument<Spec = ProviderSpec> {
  /** The word before the slash in `person: corp/alice` and `group: corp/analysts`. */
  readonly name: string
  readonly spec: Spec
}

/** Where the control plane fetches a provider's keys. No part of it comes from a token. */
export interface KeySource {
  /** Of the key set itself, or of a discovery document (OpenID Connect Discovery 1.0 §4) whose `issuer` must be `issuer`. */
  readonly at: { readonly keysUrl: string } | { readonly discoveryUrl: string; readonly issuer: string }
  /** Roots by which the server is verified, PEM; those of the system where it is undefined. */
  readonly caPem: string | undefined
  /** Addresses that are not public may be called. */
  readonly allowPrivate: boolean
  readonly refreshMs: number
}

/** Who shows a token. */
export interface Identified {
  readonly subject: SpiffeId
  /** Of the subject, where it may be another than the mesh's own: one whose keys the provider has. */
  readonly trustDomain?: string | undefined
  /** `<provider>/<subject>`. */
  readonly person?: string | undefined
  /** Each `<provider>/<group>`. */
  readonly groups?: readonly string[]
  /** ARN of an AWS role. */
  readonly role?: string | undefined
  /** Those that policy may ask for. */
  readonly claims?: Claims
  /** The user names that may stand beside the token, besides none and `token`; undefined: any. */
  readonly userNames?: readonly string[] | undefined
}

export interface ProviderType<Spec extends ProviderSpec> {
  /** `spec.type`, and the word of `when: {authentication: …}`. */
  readonly name: string
  /** A `z.strictObject` whose `type` is `z.literal(name)`. Its output is plain data. */
  readonly schema: z.ZodType<Spec>
  /** What a schema can't see; paths are below `spec`. */
  readonly faults?: (spec: Spec) => readonly { readonly path: DocumentPath; readonly message: string }[]
  readonly tokens: (spec: Spec) => TokenRules
  /** Undefined where the keys are not fetched. */
  readonly keySource: (spec: Spec) => KeySource | undefined
  /** So old may the keys be by which a token is verified while the provider is away. */
  readonly keysAgeMsMax: (spec: Spec) => number
  /** A token that is not this provider's by its issuer may be by this: one of a type without `TokenRules.issuer`. */
  readonly recognises?: (spec: Spec, token: UnverifiedToken) => boolean
  /** Of what there is one provider only, where that is not the issuer. */
  readonly keyedBy?: (spec: Spec) => string
  /** The trust domain of those whom its tokens are about, where that may be another than the mesh's own. */
  readonly trustDomain?: (spec: Spec) => string
  /** The server of the process's own configuration says whether a token is good, in the place of keys. */
  readonly isReviewed?: (spec: Spec) => boolean
  /** Its callers show a pre-signed request of AWS STS, and never a token. */
  readonly presigned?: (spec: Spec) => StsProvider
  /** @throws LogInRefused, RingfenceError IDENTITY */
  readonly identify: (provider: ProviderDocument<Spec>, token: VerifiedToken, trustDomain: string) => Identified
}

/** As the list has it. Each is given only specs that its own schema made. */
export type AnyProviderType = ProviderType<ProviderSpec>

export function providerType<Spec extends ProviderSpec>(type: ProviderType<Spec>): AnyProviderType {
  return type as unknown as AnyProviderType
}
