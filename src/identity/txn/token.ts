/**
 * Transaction tokens (draft-ietf-oauth-transaction-tokens-10): for minutes, the control plane's word that a person stands behind what a
 * workload asks. Not a credential: it says nothing of who shows it, and is worth something only to the workload that it names (`req_wl`).
 *
 *   header  { alg: ES256, typ: txntoken+jwt, kid }
 *   claims  { iss: spiffe://<trust domain>, aud: <trust domain>, iat, exp, txn, sub: corp/alice, req_wl: spiffe://…, scope: cql,
 *             rctx: { groups: [corp/analysts], claims: {…} }, tctx: {…}, src: { provider: corp, id: <jti>, hash: <SHA-256>, key: <kid> } }
 */
import type { KeyObject } from 'node:crypto'
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { KeyRing } from '../jwt/keys.ts'
import { readToken, type TokenRules, verifyToken } from '../jwt/verify.ts'
import { LogInRefused } from '../refusal.ts'
import { isReserved, parseSpiffeId, personOf, type SpiffeId, trustDomainOf } from '../spiffe.ts'
import type { Claims, ClaimValue, TokenFacts } from '../verified.ts'

export const txnTokenType = 'txntoken+jwt'
export const txnTokenLifeMsMin = 60_000
export const txnTokenLifeMsMax = 300_000
const scope = 'cql'
/** The control plane's clock may be so much before a sidecar's. The end of a token is its end. */
const leewayMs = 30_000
const nameCharsMax = 1024
const groupsMax = 2048

/** A person, as the evidence says who it is. */
export interface PersonBehind {
  /** `<identity provider>/<subject>`. */
  readonly person: string
  /** Each `<identity provider>/<group>`. */
  readonly groups: readonly string[]
  /** Those that policy may ask for. */
  readonly claims: Claims
}

/** What a transaction is, for whoever reads the record; policy does not look at it. */
export interface TransactionContext {
  readonly method?: string | undefined
  readonly route?: string | undefined
}

export interface TxnToken extends PersonBehind {
  /** Only this workload may show it. */
  readonly workload: SpiffeId
  /** `txn`. */
  readonly transaction: string
  readonly expiresAtMs: number
  /** The token that it was made for: where that is revoked, or the key that signed it, so is this one. Of before, none is known. */
  readonly source: TokenFacts | undefined
}

export interface TxnSigner {
  readonly kid: string
  /** On P-256. */
  readonly privateKey: KeyObject
}

/** Its `exp` is `token.expiresAtMs`, in whole seconds and not later. @throws RingfenceError INVALID where it would be longer than a sidecar reads */
export async function makeTxnToken(
  { kid, privateKey }: TxnSigner,
  token: TxnToken,
  context: TransactionContext,
  nowMs: number,
): Promise<string> {
  const { person, groups, claims, workload, transaction, expiresAtMs, source } = token
  const trustDomain = trustDomainOf(workload)
  // Only the control plane makes them.
  const { SignJWT } = await import('jose')
  const text = await new SignJWT({
    txn: transaction,
    req_wl: workload,
    scope,
    rctx: { groups: [...groups], claims },
    tctx: { ...context },
    ...(source === undefined ? {} : { src: source }),
  })
    .setProtectedHeader({ alg: 'ES256', typ: txnTokenType, kid })
    .setIssuer(issuerOf(trustDomain))
    .setAudience(trustDomain)
    .setSubject(person)
    .setIssuedAt(Math.floor(nowMs / 1000))
    .setExpirationTime(Math.floor(expiresAtMs / 1000))
    .sign(privateKey)
  if (text.length > limits.txnTokenBytesMax) {
    throw new RingfenceError('INVALID', `a transaction token with ${groups.length} groups is too long`, {
      hint: 'have the identity provider put fewer groups into its tokens, or set groupsPrefix',
    })
  }
  return text
}

function issuerOf(trustDomain: string): string {
  return `spiffe://${trustDomain}`
}

function rulesOf(trustDomain: string): TokenRules {
  return {
    issuer: issuerOf(trustDomain),
    audiences: [trustDomain],
    algorithms: ['ES256'],
    types: [txnTokenType],
    leewayMs,
    lifeMsMax: txnTokenLifeMsMax,
  }
}

const name = z
  .string()
  .min(1)
  .max(nameCharsMax)
  .refine((text) => text.isWellFormed() && !/\p{C}/u.test(text))
const claimsShape = z.object({
  aud: z.string(),
  sub: name.regex(/^[^/]+\/./s),
  txn: name.max(256),
  req_wl: z.string().max(2048),
  scope: z.string().refine((text) => text.split(' ').includes(scope)),
  rctx: z
    .object({ groups: z.array(name).max(groupsMax).default([]), claims: z.record(z.string(), z.json()).default({}) })
    .prefault({}),
  // As its issuer wrote it: nobody reads it but for comparing it.
  src: z
    .object({
      provider: z.string().max(nameCharsMax),
      id: z.string().max(nameCharsMax),
      hash: z.string().max(64),
      key: z.string().max(nameCharsMax),
    })
    .partial()
    .optional(),
})

/** Verifies on a thread of the pool. Whose it is, is for the caller to compare. @throws LogInRefused */
export async function verifyTxnToken(
  text: string,
  ring: KeyRing,
  trustDomain: string,
  nowMs: number,
): Promise<TxnToken> {
  const unverified = readToken(text)
  if (unverified.kid === undefined) throw new LogInRefused('unknown-key', 'the token names no key')
  const { claims, expiresAtMs } = await verifyToken(unverified, rulesOf(trustDomain), ring, nowMs)
  const { success, data, error } = claimsShape.safeParse(claims)
  if (!success)
    throw new LogInRefused('claims', `the token's claim ${error.issues[0]?.path.join('.')} is not understood`)
  const { sub: person, txn: transaction, rctx, src: source } = data
  const provider = person.slice(0, person.indexOf('/') + 1)
  if (!rctx.groups.every((group) => group.startsWith(provider) && group.length > provider.length))
    throw new LogInRefused('claims', 'the token has a group of another identity provider than its person')
  return {
    person,
    groups: [...new Set(rctx.groups)].sort(),
    claims: rctx.claims as Readonly<Record<string, ClaimValue>>,
    workload: workloadOf(data.req_wl, trustDomain),
    transaction,
    expiresAtMs,
    source,
  }
}

/** A workload of the trust domain: neither a part of the mesh nor a person. @throws LogInRefused */
export function workloadOf(text: string, trustDomain: string): SpiffeId {
  let id: SpiffeId
  try {
    id = parseSpiffeId(text)
  } catch (cause) {
    throw new LogInRefused('claims', 'the token names no workload', { cause })
  }
  if (trustDomainOf(id) !== trustDomain || isReserved(id) || personOf(id) !== undefined)
    throw new LogInRefused('claims', 'the token is for no workload of this trust domain')
  return id
}

/** `corp/alice`: what policy could name. */
export function isPersonName(text: string): boolean {
  return text.length <= nameCharsMax && /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\/[^\p{C}\ufffd]+$/u.test(text)
}
