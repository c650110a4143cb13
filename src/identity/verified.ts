/** Who is calling, proved; and the one text by which everything that is kept for somebody is filed. */
import { createHash } from 'node:crypto'
import { personOf, type SpiffeId } from './spiffe.ts'

declare const verified: unique symbol

export type ClaimValue =
  | string
  | number
  | boolean
  | null
  | readonly ClaimValue[]
  | { readonly [name: string]: ClaimValue }

/** What the evidence says of the caller besides, such as groups. */
export type Claims = Readonly<Record<string, ClaimValue>>

/**
 * Made by `Proofs` only, out of evidence that was checked. Two callers are the same only where subject, person, method and claims are:
 * `key` says so.
 */
export interface VerifiedIdentity {
  readonly subject: SpiffeId
  /** `<identity provider>/<subject>` where a person is known. */
  readonly person: string | undefined
  /** How it was proved: a word of `when: {authentication: …}`. */
  readonly method: string
  /**
   * Those that policy may ask for. What is another in each piece of evidence (`jti`, `iat`, `exp`) is not among them, for each set of claims
   * has caches and bounds of its own.
   */
  readonly claims: Claims
  /** Milliseconds since 1970; the session ends then. `Infinity` where the proof has no end. */
  readonly expiresAtMs: number
  /** SHA-256 of the evidence in hexadecimal: it may be told, the evidence may not. */
  readonly evidenceHash: string
  /** The gateway that showed the evidence, where the caller came through one. */
  readonly gateway: SpiffeId | undefined
  /** See `identityKey`. */
  readonly key: string
  readonly [verified]: true
}

export type WhoOne = Pick<VerifiedIdentity, 'subject' | 'person' | 'method' | 'claims'>

/**
 * The name under which caches, prepared statements, seals, pools, places, byte accounts and shares of the loop are kept for one caller.
 * No two different callers have one name: a SPIFFE id never begins with a bracket.
 * @param bySubject the subject says it all: where nothing else is known of the caller, the name is the subject
 */
export function identityKey({ subject, person, method, claims }: WhoOne, bySubject: boolean): string {
  const names = Object.keys(claims)
  if (bySubject && names.length === 0 && person === personOf(subject)) return subject
  return JSON.stringify([subject, person ?? null, method, names.length === 0 ? '' : digestOf(claims)])
}

/** Equal for equal claims, in whatever order they stand. */
function digestOf(claims: Claims): string {
  return createHash('sha256').update(canonical(claims)).digest('base64url')
}

function canonical(value: ClaimValue | Claims): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([name, each]) => `${JSON.stringify(name)}:${canonical(each)}`).join()}}`
}
