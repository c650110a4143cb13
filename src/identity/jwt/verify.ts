/**
 * A JSON Web Token (RFC 7519, signed as RFC 7515, by the rules of RFC 8725), from text to claims that are true as far as its issuer is.
 *
 *   text ─ readToken ─▶ what it claims ─ (who is its issuer?) ─ verifyToken ─▶ what its issuer says
 *
 * Rule: before its signature was verified a token says only where to look: which provider, which of its keys. No key, address or
 * algorithm is taken from it.
 */
import { isUtf8 } from 'node:buffer'
import { sha256Hex } from '../../base/digest.ts'
import { limits } from '../../base/limits.ts'
import { LogInRefused, type RefusalCause } from '../refusal.ts'
import { type JsonObject, parseStrictObject } from './json.ts'
import { type Algorithm, algorithms, type KeyRing } from './keys.ts'

/** What a provider's tokens must be. */
export interface TokenRules {
  /** Compared as it is, character by character; undefined where the provider's type finds its tokens by another claim. */
  readonly issuer: string | undefined
  /** One of these must be among the token's. */
  readonly audiences: readonly string[]
  readonly algorithms: readonly Algorithm[]
  /** `typ` of the header in lower case, without `application/`; `''` where it may be missing. */
  readonly types: readonly string[]
  /** Where given, one of these is `azp` or `client_id`. */
  readonly authorizedParties?: readonly string[] | undefined
  /** By how much the provider's clock may be before ours. The end of a token is its end. */
  readonly leewayMs: number
  /** A token that lives longer than this is refused. */
  readonly lifeMsMax: number
  /** `iat` may be missing. */
  readonly issuedAtMayMiss?: true
  /** What `use` of a key may be besides `sig`. */
  readonly keyUse?: string
}

/** Of an access token or an ID token; not of a refresh token, a proof or a passport. */
export const usualTypes: readonly string[] = ['', 'jwt', 'at+jwt']
export const leewayMsMax = 60_000
export const tokenLifeMsMax = 24 * 3_600_000

/** As it came; nothing of it is believed. */
export interface UnverifiedToken {
  readonly text: string
  readonly algorithm: string
  readonly kid: string | undefined
  readonly type: string
  readonly claims: JsonObject
  /** SHA-256 in hexadecimal. */
  readonly hash: string
}

/** What its issuer says. */
export interface VerifiedToken {
  readonly claims: JsonObject
  readonly subject: string
  readonly issuer: string | undefined
  /** `jti`, where it has one. */
  readonly tokenId: string | undefined
  readonly issuedAtMs: number
  readonly expiresAtMs: number
  readonly hash: string
  /** `kid` of the key that verified it, where that has one. */
  readonly keyId: string | undefined
}

/** Three parts of base64url, of which the last is not empty. */
const compact = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/
/** What changes how a token is read, and is not done here (RFC 7515 §4.1.11, RFC 7797, RFC 7516). */
const notUnderstood = ['crit', 'b64', 'enc', 'zip', 'epk', 'p2c', 'p2s']
const idCharsMax = 1024
/** `typ` among the claims, as Keycloak writes it: these are no log-ins. */
const otherPurposes: ReadonlySet<string> = new Set([
  'refresh',
  'offline',
  'logout',
  'serialized-id',
  'initialaccesstoken',
  'registrationaccesstoken',
])

/** Whether it is to be read as a token at all. */
export function looksLikeToken(text: string): boolean {
  return compact.test(text)
}

/** @throws LogInRefused */
export function readToken(text: string): UnverifiedToken {
  if (Buffer.byteLength(text) > limits.authMessageBytesMax) throw new LogInRefused('too-long', 'the token is too long')
  const hash = sha256Hex(text)
  const { header, claims } = partsOf(text, hash)
  if (header === undefined || claims === undefined) {
    throw new LogInRefused('malformed', 'not a signed JSON Web Token, or a name stands in it twice', {
      evidence: { hash },
    })
  }
  const { alg, kid, typ = '' } = header
  const issuer = shortText(claims.iss)
  const evidence = { hash, issuer, tokenId: shortText(claims.jti) }
  const unknown = notUnderstood.find((name) => Object.hasOwn(header, name))
  if (unknown !== undefined) throw new LogInRefused('type', `the token's header has "${unknown}"`, { evidence })
  if (mediaType(String(header.cty ?? '')) === 'jwt')
    throw new LogInRefused('type', 'the token has another inside', { evidence })
  if (
    typeof alg !== 'string' ||
    !(kid === undefined || (typeof kid === 'string' && kid.length <= idCharsMax)) ||
    typeof typ !== 'string'
  ) {
    throw new LogInRefused('malformed', "the token's header is not understood", { evidence })
  }
  const type = mediaType(typ)
  return { text, algorithm: alg, kid, type, claims, hash }
}

/** RFC 7515 §4.1.9 lets `application/` be left out. */
function mediaType(text: string): string {
  return text.toLowerCase().replace(/^application\//, '')
}

/** What a token says of itself; undefined where it is none. */
export function unverifiedClaims(text: string): JsonObject | undefined {
  return partsOf(text).claims
}

interface Parts {
  /** Of the token, which is not kept: whoever has it can log in. */
  readonly hash: string
  readonly header: JsonObject | undefined
  readonly claims: JsonObject | undefined
}

/** What was read last: a log-in looks at its token to see whom it claims to be about, and then to verify it. */
let last: Parts = { hash: '', header: undefined, claims: undefined }

/**
 * Each undefined where it is none, both where the text is no token. The last character of a part may have bits that say nothing: only one way of
 * writing is taken. Else the same token would have other hashes, also where one of them is revoked.
 */
function partsOf(text: string, hash = sha256Hex(text)): Parts {
  if (hash === last.hash) return last
  const [header, claims] = looksLikeToken(text) ? (decoded(text.split('.')) ?? []) : []
  last = { hash, header: header && objectOf(header), claims: claims && objectOf(claims) }
  return last
}

/** Undefined where one is written in another way than it would be here. */
function decoded(parts: readonly string[]): readonly Buffer[] | undefined {
  const bytes = parts.map((part) => Buffer.from(part, 'base64url'))
  return bytes.every((each, at) => each.toString('base64url') === parts[at]) ? bytes : undefined
}

function objectOf(bytes: Buffer): JsonObject | undefined {
  return isUtf8(bytes) ? parseStrictObject(bytes.toString('utf8')) : undefined
}

/** A claim that may be told; undefined for what is none or too long. */
export function shortText(value: unknown): string | undefined {
  return typeof value === 'string' && value.length <= idCharsMax ? value : undefined
}

/** Loaded for the first token: a process that is shown none never needs it. */
let jose: typeof import('jose') | undefined

/**
 * Verifies on a thread of the pool, so that no signature blocks the event loop.
 * @throws LogInRefused; the signature is looked at before the claims are, so that only who holds a token of the issuer hears of them
 */
export async function verifyToken(
  token: UnverifiedToken,
  rules: TokenRules,
  ring: KeyRing,
  nowMs: number,
): Promise<VerifiedToken> {
  const { kid, claims, hash, text } = token
  const algorithm = checkHeader(token, rules)
  const key = ring.find(kid, algorithm, rules.keyUse)
  if (key === undefined) {
    const named = kid === undefined ? 'no key, and there is not exactly one' : 'a key that is not in the key set'
    throw refusal('unknown-key', `the token names ${named}`)
  }
  jose ??= await import('jose')
  const { compactVerify, errors } = jose
  try {
    await compactVerify(text, ring.bare(key), { algorithms: [algorithm] })
  } catch (reason) {
    const isForged = reason instanceof errors.JWSSignatureVerificationFailed
    throw refusal(
      'signature',
      isForged ? "the token's signature is not its issuer's" : 'the signature cannot be verified',
      reason,
    )
  }
  return { ...checkClaims(claims, rules, hash, nowMs), keyId: key.kid }

  function refusal(why: RefusalCause, message: string, cause?: unknown): LogInRefused {
    return new LogInRefused(why, message, { cause })
  }
}

/** All but the signature, where another says whether it is good. @throws LogInRefused */
export function checkUnsigned(token: UnverifiedToken, rules: TokenRules, nowMs: number): VerifiedToken {
  checkHeader(token, rules)
  return { ...checkClaims(token.claims, rules, token.hash, nowMs), keyId: token.kid }
}

function checkHeader({ type, algorithm }: UnverifiedToken, rules: TokenRules): Algorithm {
  if (!rules.types.includes(type))
    throw new LogInRefused('type', `the token is of the type ${JSON.stringify(type.slice(0, 64))}`)
  if (!isAlgorithm(algorithm) || !rules.algorithms.includes(algorithm)) {
    throw new LogInRefused(
      'algorithm',
      `the token is signed by ${JSON.stringify(algorithm.slice(0, 32))}, which the provider does not allow`,
    )
  }
  return algorithm
}

function isAlgorithm(text: string): text is Algorithm {
  return (algorithms as readonly string[]).includes(text)
}

function checkClaims(claims: JsonObject, rules: TokenRules, hash: string, nowMs: number): Omit<VerifiedToken, 'keyId'> {
  const { iss, aud, sub, exp, iat, nbf, jti, azp, client_id: clientId, typ } = claims
  if (rules.issuer !== undefined && iss !== rules.issuer)
    throw new LogInRefused('issuer', 'the token has another issuer')
  if (typeof typ === 'string' && otherPurposes.has(typ.toLowerCase()))
    throw new LogInRefused('type', `the token is a ${typ.toLowerCase()} token`)
  // RFC 8417: it tells of something that happened, such as a log-out, and its type may be left out.
  if (Object.hasOwn(claims, 'events')) throw new LogInRefused('type', 'the token tells of events, and is no log-in')
  // RFC 9449 §7.1, RFC 8705 §3: without the proof it would be a bearer's, which its issuer did not make it.
  if (Object.hasOwn(claims, 'cnf'))
    throw new LogInRefused('type', 'the token is bound to a key ("cnf"), and no proof of that is asked for here')
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!audiences.some((one) => typeof one === 'string' && rules.audiences.includes(one)))
    throw new LogInRefused('audience', 'the token is for another audience')
  const parties = rules.authorizedParties
  if (parties !== undefined && ![azp, clientId].some((one) => typeof one === 'string' && parties.includes(one)))
    throw new LogInRefused('authorized-party', 'the token was given to another client ("azp", "client_id")')
  if (typeof sub !== 'string' || sub === '' || sub.length > idCharsMax)
    throw new LogInRefused('claims', 'the token has no subject')
  const mayMiss = iat === undefined && rules.issuedAtMayMiss === true
  const [expMs, iatMs, nbfMs] = [msOf(exp), mayMiss ? nowMs : msOf(iat), nbf === undefined ? 0 : msOf(nbf)]
  if (expMs === undefined || iatMs === undefined || nbfMs === undefined)
    throw new LogInRefused(
      'claims',
      'the token does not say in seconds when it was issued ("iat") and when it ends ("exp")',
    )
  if (expMs - iatMs > rules.lifeMsMax)
    throw new LogInRefused('lifetime', `the token lives ${Math.round((expMs - iatMs) / 1000)} s, longer than it may`)
  if (nowMs >= expMs)
    throw new LogInRefused('expired', `the token expired ${Math.round((nowMs - expMs) / 1000)} s ago`, {
      words: `the token expired at ${new Date(expMs).toISOString()}; get a new one`,
    })
  if (Math.max(nbfMs, iatMs) > nowMs + rules.leewayMs)
    throw new LogInRefused('not-yet-valid', 'the token is not valid yet, or a clock is wrong', {
      words: `the token is not valid before ${new Date(Math.max(nbfMs, iatMs)).toISOString()}; is a clock wrong`,
    })
  return {
    claims,
    subject: sub,
    issuer: shortText(iss),
    tokenId: shortText(jti),
    issuedAtMs: iatMs,
    expiresAtMs: expMs,
    hash,
  }
}

/** NumericDate (RFC 7519 §2) up to the year 9999. */
function msOf(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 && value < 253_402_300_800 ? Math.floor(value * 1000) : undefined
}
