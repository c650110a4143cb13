/**
 * What a request of NGINX shows of the person behind it: one thing or nothing. What could be read in two ways is refused, because NGINX, the
 * gateway and the application might each read it in another way (attack D12).
 */
import { Counts } from '../../base/counts.ts'
import { limits } from '../../base/limits.ts'

export type Shown =
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'session'; readonly id: string }
  | { readonly kind: 'nothing' }
  /** `status`: 403 for what is ambiguous (NGINX knows 401 and 403 only), 401 for what is none. */
  | { readonly kind: 'refused'; readonly status: 401 | 403; readonly words: string }

export const sessionCookie = '__Host-ringfence'
export const logInCookie = '__Host-ringfence-log-in'
/** Set by NGINX, in the place of what a client sends. */
export const applicationHeader = 'x-ringfence-application'
export const returnHeader = 'x-ringfence-return'
/** The address of the client, as NGINX sees it. */
export const clientHeader = 'x-ringfence-client'
/** What the application gets. */
export const txnTokenHeader = 'Txn-Token'

const setByNginx: ReadonlySet<string> = new Set([applicationHeader, returnHeader, clientHeader])

/** Which only this mesh may set. `_` for `-` is another spelling to some who read headers. */
const ours = /^(?:txn[-_]token|x[-_]ringfence[-_].*)$/

/** @param raw names and values in turn, as `IncomingMessage.rawHeaders` has them */
export function shownBy(raw: readonly string[]): Shown {
  const authorizations: string[] = []
  const cookies: string[] = []
  const counts = new Counts<string>()
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!.toLowerCase()
    const value = raw[at + 1]!
    if (name === 'authorization') authorizations.push(value)
    else if (name === 'cookie') cookies.push(value)
    else if (ours.test(name)) counts.more(name)
  }
  for (const [name, count] of counts) {
    if (!setByNginx.has(name)) return refused(403, `the header ${name} is not the client's to send`)
    if (count > 1) return refused(403, `the header ${name} stands twice`)
  }
  if (authorizations.length > 1) return refused(403, 'the header authorization stands twice')
  const ids = cookiesOf(cookies, sessionCookie)
  if (ids.length > 1) return refused(403, 'the session cookie stands twice')
  const [authorization] = authorizations
  if (authorization !== undefined) return bearerOf(authorization)
  const [id] = ids
  return id === undefined || id === '' ? { kind: 'nothing' } : { kind: 'session', id }
}

/** RFC 6750 §2.1. */
function bearerOf(authorization: string): Shown {
  const [, token] = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i.exec(authorization) ?? []
  if (token === undefined) return refused(401, 'expected a bearer token')
  if (token.length > limits.authMessageBytesMax) return refused(401, 'the token is too long')
  return { kind: 'bearer', token }
}

/** The values of every cookie of that name. */
export function cookiesOf(headers: readonly string[], name: string): string[] {
  return headers
    .flatMap((header) => header.split(';'))
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1))
}

function refused(status: 401 | 403, words: string): Shown {
  return { kind: 'refused', status, words }
}
