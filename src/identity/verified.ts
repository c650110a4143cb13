/** Who is calling, proved; and the one text by which everything that is kept for somebody is filed. */
import { createHash } from 'node:crypto'
import { assert } from '../base/errors.ts'
import { personOf, type SpiffeId } from './spiffe.ts'

export type ClaimValue =
  | string
  | number
  | boolean
  | null
  | readonly ClaimValue[]
  | { readonly [name: string]: ClaimValue }

/** What the evidence says of the caller besides, such as groups. */
export type Claims = Readonly<Record<string, ClaimValue>>

/** Whose evidence said them, where a person stands behind a workload and each has evidence of its own. */
export interface ClaimsOf {
  readonly workload: Claims
  readonly person: Claims
}

/** The claims that each of the two says for itself; what each says may be another thing. */
export function saidByBoth({ workload, person }: ClaimsOf): readonly string[] {
  return Object.keys(person).filter((name) => Object.hasOwn(workload, name))
}

/** What either says; of a claim that both say, the values of both. */
export function claimsOfEither(of: ClaimsOf): Claims {
  const { workload, person } = of
  const twice = saidByBoth(of).map((name): [string, ClaimValue] => [name, [workload[name]!, person[name]!].flat()])
  return Object.fromEntries([...Object.entries(workload), ...Object.entries(person), ...twice])
}

/** What is told of a token besides its hash. */
export interface ShownToken {
  /** The word of its provider. */
  readonly provider: string
  readonly issuer: string | undefined
  /** `jti`. */
  readonly id: string | undefined
  /** SHA-256 in hexadecimal. */
  readonly hash: string
  /** `kid` of the issuer's key that signed it, where it has one. */
  readonly key: string | undefined
}

/** What of a token is compared with those that are revoked. */
export interface TokenFacts {
  readonly provider?: string | undefined
  readonly id?: string | undefined
  readonly hash?: string | undefined
  /** `kid` of the key by which its issuer signed it. */
  readonly key?: string | undefined
}

/** A transaction token by which a person stands behind a whole session. */
export interface BehindFacts {
  /** `txn`. */
  readonly id: string
  /** SHA-256 in hexadecimal. */
  readonly hash: string
  /** The token that it was made for. */
  readonly source: TokenFacts | undefined
}

/** By what a certificate may be known that is revoked. Not its SHA-256: a signature of ECDSA may be written in two ways. */
export interface ShownCertificate {
  /** In hexadecimal, as X509Certificate.serialNumber gives it. */
  readonly serial: string
  /** SHA-256 of its SubjectPublicKeyInfo in DER, in hexadecimal. */
  readonly key: string
  /** Identifier of the key that signed it, in hexadecimal; undefined where it does not say. */
  readonly authority?: string | undefined
}

/**
 * Made by `Proofs` only (`proofs/registry.ts`), out of evidence that was checked. Two callers are the same only where subject, person, groups,
 * role, methods and claims are: `key` says so. The class is not exported and has a private field, so that an object with the same fields, such
 * as a spread of one, is none.
 */
class Verified {
  readonly subject: SpiffeId
  /** `<identity provider>/<subject>` where a person is known. */
  readonly person: string | undefined
  /** Each `<identity provider>/<group>`, sorted, each once. */
  readonly groups: readonly string[]
  /** ARN of the role that the caller has at a cloud, where its evidence is of one. */
  readonly role: string | undefined
  /** How it was proved, each a word of `when: {authentication: …}`: one, or two where two proofs were asked for. */
  readonly methods: readonly string[]
  /**
   * Those that policy may ask for. What is another in each piece of evidence (`jti`, `iat`, `exp`) is not among them, for each set of claims
   * has caches and bounds of its own.
   */
  readonly claims: Claims
  /** Whose each claim is. `claims` has what either says. */
  readonly claimsOf: ClaimsOf | undefined
  /** Milliseconds since 1970; the session ends then. `Infinity` where the proof has no end. */
  readonly expiresAtMs: number
  /** SHA-256 of the evidence in hexadecimal: it may be told, the evidence may not. */
  readonly evidenceHash: string
  /** Where a token was shown. */
  readonly token: ShownToken | undefined
  /** Where a certificate was shown. */
  readonly certificate: ShownCertificate | undefined
  /** The transaction token by which the person stands behind the whole session. */
  readonly behind: BehindFacts | undefined
  /** The gateway that showed the evidence, where the caller came through one. */
  readonly gateway: SpiffeId | undefined
  /** See `identityKey`. */
  readonly key: string
  readonly #made = true

  constructor(fields: VerifiedFields) {
    this.subject = fields.subject
    this.person = fields.person
    this.groups = fields.groups
    this.role = fields.role
    this.methods = fields.methods
    this.claims = fields.claims
    this.claimsOf = fields.claimsOf
    this.expiresAtMs = fields.expiresAtMs
    this.evidenceHash = fields.evidenceHash
    this.token = fields.token
    this.certificate = fields.certificate
    this.behind = fields.behind
    this.gateway = fields.gateway
    this.key = fields.key
  }

  /** The same caller, with an end that is not later. */
  static endingAt(identity: Verified, expiresAtMs: number): Verified {
    assert(#made in identity && identity.#made, 'an identity was verified')
    return new Verified({ ...identity, expiresAtMs: Math.min(identity.expiresAtMs, expiresAtMs) })
  }
}

export type VerifiedIdentity = Verified
export type VerifiedFields = WhoOne &
  Pick<Verified, 'expiresAtMs' | 'evidenceHash' | 'token' | 'gateway' | 'key'> & {
    readonly certificate?: ShownCertificate | undefined
    readonly behind?: BehindFacts | undefined
  }

/** For `proofs/registry.ts` only; a test looks. */
export function verifiedIdentity(fields: VerifiedFields): VerifiedIdentity {
  return new Verified(fields)
}

export const endingAt = Verified.endingAt

export type WhoOne = Pick<VerifiedIdentity, 'subject' | 'person' | 'groups' | 'role' | 'methods' | 'claims'> & {
  readonly claimsOf?: ClaimsOf | undefined
}

/**
 * The name under which caches, prepared statements, seals, pools, places, byte accounts and shares of the loop are kept for one caller.
 * No two different callers have one name: a SPIFFE id never begins with a bracket.
 * @param bySubject the subject says it all: where nothing else is known of the caller, the name is the subject
 */
export function identityKey(one: WhoOne, bySubject: boolean): string {
  const { subject, person, groups, role, methods, claims } = one
  const isPlain = Object.keys(claims).length === 0 && groups.length === 0 && role === undefined
  if (bySubject && isPlain && person === personOf(subject)) return subject
  const rest = isPlain ? '' : digestOf([groups, role ?? null, ...saidOf(one)])
  return JSON.stringify([subject, person ?? null, methods.length === 1 ? methods[0] : methods, rest])
}

/** The same for a caller with a person behind it for one request. No key above has this form. */
export function behalfKey(callerKey: string, one: WhoOne): string {
  const { person, groups, methods } = one
  return JSON.stringify(['on behalf of', person ?? null, methods.at(-1), digestOf([groups, ...saidOf(one)]), callerKey])
}

/** Whose each claim is tells callers apart, too. Where the workload says none all are the person's, or of the one proof that says both. */
function saidOf({ claims, claimsOf }: WhoOne): readonly ClaimValue[] {
  const isOfTwo = claimsOf !== undefined && Object.keys(claimsOf.workload).length > 0
  return isOfTwo ? [claimsOf.workload, claimsOf.person] : [claims]
}

/** Equal for equal values, in whatever order names stand in them. */
function digestOf(value: ClaimValue): string {
  return createHash('sha256').update(canonical(value)).digest('base64url')
}

function canonical(value: ClaimValue): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([name, each]) => `${JSON.stringify(name)}:${canonical(each)}`).join()}}`
}
