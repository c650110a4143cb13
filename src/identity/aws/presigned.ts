/**
 * A pre-signed request of `sts:GetCallerIdentity` as a password: who signs it can be named by AWS, and by nobody else.
 *
 *   password ─ readPresigned ─▶ its parts, each checked ─▶ StsRequest, made anew of the parts ─▶ STS
 *
 * Rule: nothing that a client wrote is fetched. Host, path, method, headers and the names of parameters come from this folder. Only the
 * values of parameters are the client's; each must have its own shape, and is encoded again here.
 *
 * The rules are those of aws-iam-authenticator (`pkg/token/token.go`), and stricter: names in AWS's own spelling, exactly two signed
 * headers, the region of the credential is that of the host, its day that of the signature.
 */
import { createHash } from 'node:crypto'
import { limits } from '../../base/limits.ts'
import { LogInRefused } from '../refusal.ts'

/** How such a password begins; then the URL in base64url without padding. */
export const presignedPrefix = 'aws-sts-v1.'
/** The header that binds it to this mesh: STS refuses the signature where it has another value. */
export const serverHeader = 'x-ringfence-server'
/** Counted from X-Amz-Date: STS takes it so long, whatever X-Amz-Expires says. */
export const presignedMsMax = 15 * 60_000

export interface PresignedCheck {
  readonly serverId: string
  /** Region by host; see `stsHosts`. */
  readonly hosts: ReadonlyMap<string, string>
  readonly nowMs: number
  /** How far the clocks may be apart. */
  readonly leewayMs: number
}

/** A GET by HTTPS of port 443, without a body. */
export interface StsRequest {
  readonly host: string
  /** With the query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

export interface Presigned {
  readonly request: StsRequest
  /** SHA-256 of the request: the name of what is remembered of it, so that no other request is taken for it. */
  readonly key: string
  readonly endMs: number
}

const awsDay = '[0-9]{8}'
/** Every parameter that may be there, once each. The order is that of the request that is sent. */
const parameters: Readonly<Record<string, RegExp>> = {
  Action: /^GetCallerIdentity$/,
  Version: /^2011-06-15$/,
  'X-Amz-Algorithm': /^AWS4-HMAC-SHA256$/,
  'X-Amz-Credential': new RegExp(`^[A-Z0-9]{16,128}/${awsDay}/[a-z0-9-]{4,32}/sts/aws4_request$`),
  'X-Amz-Date': new RegExp(`^${awsDay}T[0-9]{6}Z$`),
  'X-Amz-Expires': /^[0-9]{1,6}$/,
  'X-Amz-Security-Token': /^[A-Za-z0-9+/=_-]{1,3072}$/,
  'X-Amz-SignedHeaders': new RegExp(`^host;${serverHeader}$`),
  'X-Amz-Signature': /^[0-9a-f]{64}$/,
}
const optional: ReadonlySet<string> = new Set(['X-Amz-Security-Token'])

/** No port, user, fragment, second `?`, blank, plus sign (a blank to some), or anything that two readers of URLs read differently. */
const urlPattern = /^https:\/\/([a-z0-9.-]{1,253})\/\?((?:[A-Za-z0-9_.~&=-]|%[0-9A-Fa-f]{2})+)$/

export function isPresigned(password: string): boolean {
  return password.startsWith(presignedPrefix)
}

/** The host that it names, of which nothing was checked; `''` where it is not understood. */
export function hostOfPresigned(password: string): string {
  return urlPattern.exec(unchecked(password))?.[1] ?? ''
}

/** The access key that it names, which is no secret, unverified; undefined where it names none. */
export function accessKeyOfPresigned(password: string): string | undefined {
  return /[?&]X-Amz-Credential=([A-Z0-9]{16,128})%2F/i.exec(unchecked(password))?.[1]
}

/**
 * What it is known by, for its SHA-256 is told, recorded and revoked: its signature. The parameters may be written in another order or with other
 * escapes, which changes the text and not the request; a signature belongs to one request. Where there is not just one, all that was shown.
 */
export function knownBy(password: string): string {
  const [, , query = ''] = urlPattern.exec(unchecked(password)) ?? []
  const signatures = query.split('&').filter((pair) => pair.startsWith('X-Amz-Signature='))
  const signature = signatures.length === 1 ? decoded(signatures[0]!.slice('X-Amz-Signature='.length)) : ''
  return parameters['X-Amz-Signature']!.test(signature) ? signature : password
}

function unchecked(password: string): string {
  if (password.length > limits.presignedBytesMax) return ''
  return Buffer.from(password.slice(presignedPrefix.length), 'base64url').toString('latin1')
}

/** Nothing of a longer one is looked at, not even whose it is. @throws LogInRefused */
export function checkPresignedLength(password: string): void {
  if (password.length > limits.presignedBytesMax)
    throw new LogInRefused('too-long', `the pre-signed request is longer than ${limits.presignedBytesMax} bytes`)
}

/** @throws LogInRefused */
export function readPresigned(password: string, check: PresignedCheck): Presigned {
  checkPresignedLength(password)
  const encoded = password.slice(presignedPrefix.length)
  const bytes = Buffer.from(encoded, 'base64url')
  // What base64 leaves open (padding, characters that are skipped, bits that are dropped) is not.
  if (!isPresigned(password) || bytes.toString('base64url') !== encoded) {
    throw malformed(`is not "${presignedPrefix}" and base64url without padding`)
  }
  const [, host = '', query = ''] = urlPattern.exec(bytes.toString('latin1')) ?? []
  if (host === '') throw malformed(`is not https://<host of STS>/?<parameters>`)
  const region = check.hosts.get(host)
  if (region === undefined) throw malformed('names a host at which STS is not asked here')
  const values = valuesOf(query)
  const date = values.get('X-Amz-Date') ?? ''
  const [, day, signedFor] = (values.get('X-Amz-Credential') ?? '').split('/')
  if (signedFor !== region) throw malformed('is signed for another region than that of its host')
  if (day !== date.slice(0, 8)) throw malformed('has a credential of another day than its date')
  const signedMs = millisecondsOf(date)
  if (signedMs > check.nowMs + check.leewayMs) {
    throw new LogInRefused('not-yet-valid', 'the pre-signed request is of a later time, or a clock is wrong', {
      words: 'the pre-signed request is of a later time; is a clock wrong',
    })
  }
  const endMs = signedMs + presignedMsMax
  if (endMs <= check.nowMs) {
    throw new LogInRefused('expired', 'the pre-signed request is older than 15 minutes', {
      words: 'the pre-signed request is older than 15 minutes; make a new one (ringfence aws-token)',
    })
  }
  const path = `/?${[...values].map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')}`
  const headers = { host, [serverHeader]: check.serverId, accept: 'application/json' }
  const key = createHash('sha256')
    .update(JSON.stringify([host, path, check.serverId]))
    .digest('base64url')
  return { request: { host, path, headers }, key, endMs }
}

/** In the order of `parameters`. */
function valuesOf(query: string): ReadonlyMap<string, string> {
  const given = new Map<string, string>()
  for (const pair of query.split('&')) {
    const [name = '', value, ...more] = pair.split('=')
    if (value === undefined || more.length > 0) throw malformed('has a parameter that is no name and value')
    if (!Object.hasOwn(parameters, name)) throw malformed('has a parameter that GetCallerIdentity does not have')
    if (given.has(name)) throw malformed(`has the parameter ${name} twice`)
    given.set(name, decoded(value))
  }
  const values = new Map<string, string>()
  for (const [name, shape] of Object.entries(parameters)) {
    const value = given.get(name)
    if (value === undefined && optional.has(name)) continue
    if (value === undefined) throw malformed(`has no parameter ${name}`)
    if (!shape.test(value)) throw malformed(`has a parameter ${name} that is not accepted`)
    values.set(name, value)
  }
  return values
}

function decoded(value: string): string {
  return value.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/** @param date `20260102T030405Z` */
function millisecondsOf(date: string): number {
  const iso = date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6.000Z')
  const ms = Date.parse(iso)
  // A 30th of February is no date.
  if (!Number.isFinite(ms) || new Date(ms).toISOString() !== iso) throw malformed('has an X-Amz-Date that is no date')
  return ms
}

function malformed(what: string): LogInRefused {
  return new LogInRefused('malformed', `the pre-signed request ${what}`)
}
