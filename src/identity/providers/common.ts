/** What the types of providers have in common: parts of their schemas, and the reading of claims. */
import { z } from 'zod'
import { duration } from '../../base/document.ts'
import type { JsonObject } from '../jwt/json.ts'
import { type Algorithm, algorithms } from '../jwt/keys.ts'
import { leewayMsMax, type TokenRules, tokenLifeMsMax } from '../jwt/verify.ts'
import { LogInRefused } from '../refusal.ts'
import type { Claims, ClaimValue } from '../verified.ts'
import type { KeySource } from './provider.ts'

const refreshMsDefault = 45_000
const refreshMsMin = 10_000
const keysAgeMsDefault = 24 * 3_600_000
const leewayMsDefault = 30_000
const groupsMax = 2048
const nameCharsMax = 255

const text = z.string().min(1, 'the text is empty').max(1024)
export const listOf = <T extends z.ZodType>(element: T) => z.array(element).min(1, 'the list is empty').max(64)
const within = (minMs: number, maxMs: number, words: string) =>
  duration.refine((ms) => ms >= minMs && ms <= maxMs, `expected ${words}`)

/** What an issuer may be: it is compared as it is, so it is written as the provider writes it into its tokens. */
export const issuer = text.refine((value) => !/\s/.test(value), 'an issuer has no white space')

/** So long at most lives a certificate that is got for a token. */
export const certificateMsMax = 3_600_000

/** `audiences`, `algorithms`, `leeway`, `lifeMax`, `certificateLife`. */
export const tokenShape = {
  audiences: listOf(text),
  algorithms: listOf(z.enum(algorithms)).default(['RS256', 'ES256']),
  leeway: within(0, leewayMsMax, 'at most 60s').default(leewayMsDefault),
  lifeMax: within(1000, tokenLifeMsMax, '1s to 24h').default(tokenLifeMsMax),
  /** Of a certificate that is got for one of its tokens, which also ends with the token; 0s: there are none. */
  certificateLife: within(0, certificateMsMax, 'at most 1h').default(certificateMsMax),
}

/** `jwks`, `caPem`, `allowPrivate`, `refresh`, `keysMaxAge`. */
export const keysShape = {
  jwks: z.string().max(2048).optional(),
  caPem: z
    .string()
    .max(65_536)
    .refine((pem) => pem.includes('-----BEGIN CERTIFICATE-----'), 'expected certificates in PEM')
    .optional(),
  allowPrivate: z.boolean().default(false),
  refresh: within(refreshMsMin, 24 * 3_600_000, '10s to 24h').default(refreshMsDefault),
  keysMaxAge: within(60_000, 7 * 24 * 3_600_000, '1m to 168h').default(keysAgeMsDefault),
}

/** `claims` of a provider whose callers are workloads: which of its claims policy may ask for. */
export const forPolicyShape = z
  .strictObject({ forPolicy: listOf(z.string().min(1, 'the name of a claim is empty').max(256)).default([]) })
  .prefault({})

export const awsAccount = z.string().regex(/^[0-9]{12}$/, 'expected the 12 digits of an AWS account, in quotes')

/** What `tokenShape` says of tokens. */
export function rulesOf(
  spec: {
    readonly audiences: readonly string[]
    readonly algorithms: readonly Algorithm[]
    readonly leeway: number
    readonly lifeMax: number
  },
  from: string | undefined,
  types: readonly string[],
): TokenRules {
  const { audiences, algorithms: allowed, leeway, lifeMax } = spec
  return { issuer: from, audiences, algorithms: allowed, types, leewayMs: leeway, lifeMsMax: lifeMax }
}

export interface KeysSpec {
  readonly jwks?: string | undefined
  readonly caPem?: string | undefined
  readonly allowPrivate: boolean
  readonly refresh: number
}

/** `jwks`, else by discovery from the issuer. */
export function keySourceOf({ jwks, caPem, allowPrivate, refresh }: KeysSpec, issuerUrl: string): KeySource {
  const discoveryUrl = `${issuerUrl.replace(/\/$/, '')}/.well-known/openid-configuration`
  const at = jwks === undefined ? { discoveryUrl, issuer: issuerUrl } : { keysUrl: jwks }
  return { at, caPem, allowPrivate, refreshMs: refresh }
}

/** What is wrong with a URL that is to be fetched; undefined where nothing is. */
export function urlFault(given: string, allowPrivate: boolean): string | undefined {
  const shown = JSON.stringify(given.slice(0, 128))
  const url = URL.parse(given)
  if (url === null) return `${shown} is not a URL`
  if (url.username !== '' || url.password !== '') return `${shown} has a user or password in it`
  if (url.hash !== '') return `${shown} has a fragment`
  if (url.protocol === 'https:') return undefined
  const isLoopback = /^(127(\.\d{1,3}){3}|localhost|\[::1\])$/.test(url.hostname)
  if (url.protocol === 'http:' && isLoopback && allowPrivate) return undefined
  return `${shown} must begin with https://; http:// is allowed to loopback only, with "allowPrivate: true"`
}

/** What is wrong with where keys are fetched from: the key of the document that says it, and the words. */
export function keysUrlFaults(
  { jwks, allowPrivate }: Pick<KeysSpec, 'jwks' | 'allowPrivate'>,
  issuerUrl: string,
): { readonly path: readonly string[]; readonly message: string }[] {
  const message = urlFault(jwks ?? issuerUrl, allowPrivate)
  return message === undefined ? [] : [{ path: [jwks === undefined ? 'issuer' : 'jwks'], message }]
}

/** A claim by its name, or by the names on the way to it: `realm_access.roles`. A name that has dots itself is found first. */
export function claimAt(claims: unknown, path: string): unknown {
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) return undefined
  if (Object.hasOwn(claims, path)) return (claims as JsonObject)[path]
  for (let dot = path.lastIndexOf('.'); dot > 0; dot = path.lastIndexOf('.', dot - 1)) {
    const name = path.slice(0, dot)
    if (!Object.hasOwn(claims, name)) continue
    const found = claimAt((claims as JsonObject)[name], path.slice(dot + 1))
    if (found !== undefined) return found
  }
  return undefined
}

/** The name of somebody or something. @throws LogInRefused */
export function nameAt(claims: JsonObject, path: string): string {
  const value = claimAt(claims, path)
  if (typeof value === 'string' && value !== '' && value.length <= nameCharsMax && isPrintable(value)) return value
  throw new LogInRefused('claims', `the token's claim ${JSON.stringify(path)} is no name`)
}

/** Sorted, each once; of those with `prefix`, without it. @throws LogInRefused */
export function groupsAt(claims: JsonObject, path: string, prefix: string): readonly string[] {
  const value = claimAt(claims, path)
  // A provider that leaves out a list that is too long says so here (Entra ID), and groups may be what a rule refuses.
  const elsewhere = claimAt(claims, '_claim_names')
  const isElsewhere = typeof elsewhere === 'object' && elsewhere !== null && Object.hasOwn(elsewhere, path)
  if (isElsewhere || (value === undefined && claims.hasgroups !== undefined)) {
    throw new LogInRefused(
      'claims',
      'the token leaves its groups out, because they are too many; have the provider filter them',
    )
  }
  if (value === undefined || value === null) return []
  const names: readonly unknown[] = Array.isArray(value) ? value : [value]
  const isList = names.every((name) => typeof name === 'string' && name.length <= 1024 && isPrintable(name))
  if (!isList || names.length > groupsMax)
    throw new LogInRefused('claims', `the token's claim ${JSON.stringify(path)} is no list of groups`)
  const kept = (names as string[]).filter((name) => name.startsWith(prefix) && name.length > prefix.length)
  return [...new Set(kept.map((name) => name.slice(prefix.length)))].sort()
}

export function claimsFor(claims: JsonObject, paths: readonly string[]): Claims {
  const kept = paths.flatMap((path) => {
    const value = claimAt(claims, path)
    return value === undefined ? [] : [[path, value as ClaimValue] as const]
  })
  return Object.fromEntries(kept)
}

function isPrintable(value: string): boolean {
  return value.isWellFormed() && !/\p{C}/u.test(value)
}
