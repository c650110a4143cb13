/**
 * The identity provider, asked as a client of a person: `openid-client` speaks OAuth and OpenID Connect, `callOutside` makes its calls, and
 * here their errors become words that quote nothing which was sent.
 */
import { decodeJwt } from 'jose'
import * as oidc from 'openid-client'
import { RingfenceError } from '../base/errors.ts'
import { printable } from '../base/printable.ts'
import { callOutside, resolveBySystem } from '../mesh/outside-call.ts'
import { isLoopback } from '../mesh/public-address.ts'
import type { Profile, Tokens } from './profile.ts'

const callMsMax = 10_000
const answerBytesMax = 512 * 1024
/** AUTH_RESPONSE has 64 KiB with the user name. */
const tokenBytesMax = 60 * 1024
const wordsMax = 300

type Answer = oidc.TokenEndpointResponse

/** Somebody has to log in (again): nothing that can be tried once more helps. */
export class LogInDue extends RingfenceError {
  constructor(message: string, profile?: string) {
    const flag = profile === undefined || profile === 'default' ? '' : ` --profile ${profile}`
    super('IDENTITY', message, { hint: `ringfence login${flag}` })
  }
}

class ProviderAway extends Error {}

/** As the provider says of itself (`<issuer>/.well-known/openid-configuration`). @throws RingfenceError */
export async function discover(profile: Profile): Promise<oidc.Configuration> {
  const { issuer, clientId, clientSecret } = profile
  const server = issuerUrl(issuer)
  const authentication = clientSecret === undefined ? oidc.None() : oidc.ClientSecretPost(clientSecret)
  const options = {
    [oidc.customFetch]: fetchFor(profile),
    // `issuerUrl` lets no other than loopback have it.
    execute: server.protocol === 'http:' ? [oidc.allowInsecureRequests] : [],
  }
  try {
    return await oidc.discovery(server, clientId, undefined, authentication, options)
  } catch (reason) {
    throw providerFault(reason, issuer)
  }
}

/** @throws RingfenceError USAGE */
export function issuerUrl(issuer: string): URL {
  const url = URL.parse(issuer)
  const host = url?.hostname.replace(/^\[(.*)\]$/, '$1') ?? ''
  const isSafe =
    url?.protocol === 'https:' || (url?.protocol === 'http:' && /^[\d.:a-f]+$/.test(host) && isLoopback(host))
  if (url === null || !isSafe || url.search !== '' || url.hash !== '' || url.username !== '') {
    throw new RingfenceError('USAGE', `not an issuer: ${printable(issuer.slice(0, wordsMax))}`, {
      hint: 'https://…, as tokens have it in "iss" and the policy in "issuer"; http:// at 127.0.0.1 only',
    })
  }
  return url
}

/** Scopes and whom the tokens are for, as each request has them. */
export function asked(profile: Profile, configuration: oidc.Configuration): Record<string, string> {
  const { scopes_supported: supported = [] } = configuration.serverMetadata()
  // Who does not know one of these refuses all.
  const usual = ['profile', 'offline_access'].filter((scope) => supported.includes(scope))
  const scopes = profile.scopes ?? ['openid', ...usual]
  return {
    scope: scopes.join(' '),
    ...(profile.resource === undefined ? {} : { resource: profile.resource }),
    ...(profile.audience === undefined ? {} : { audience: profile.audience }),
  }
}

/** New tokens in the place of those that are kept. @throws LogInDue where the provider gives none; RingfenceError UNAVAILABLE */
export async function refreshed(
  profile: Profile,
  kept: Tokens,
  refreshToken: string,
  name: string,
  nowMs: number,
): Promise<Tokens> {
  const configuration = await discover(profile)
  const { resource, audience } = asked(profile, configuration)
  const more = { ...(resource === undefined ? {} : { resource }), ...(audience === undefined ? {} : { audience }) }
  try {
    const answer = await oidc.refreshTokenGrant(configuration, refreshToken, more)
    return tokensOf(profile, answer, nowMs, kept)
  } catch (reason) {
    if (reason instanceof oidc.ResponseBodyError && reason.error === 'invalid_grant') {
      throw new LogInDue('the provider does not renew this log-in any more', name)
    }
    throw providerFault(reason, profile.issuer, [refreshToken])
  }
}

/** Tells the provider that they are not used any more. False where it has no place for that. @throws RingfenceError */
export async function revoked(profile: Profile, { refreshToken, token, kind }: Tokens): Promise<boolean> {
  const configuration = await discover(profile)
  if (configuration.serverMetadata().revocation_endpoint === undefined) return false
  try {
    if (refreshToken !== undefined) {
      await oidc.tokenRevocation(configuration, refreshToken, { token_type_hint: 'refresh_token' })
    } else if (kind === 'access') {
      await oidc.tokenRevocation(configuration, token, { token_type_hint: 'access_token' })
    }
    return true
  } catch (reason) {
    throw providerFault(reason, profile.issuer, [refreshToken ?? token])
  }
}

/** The one of the provider's tokens that a door is shown, and what is needed to renew it. @throws RingfenceError USAGE */
export function tokensOf(profile: Profile, answer: Answer, nowMs: number, before?: Tokens): Tokens {
  const { access_token: access, id_token: id } = answer
  const wanted = before?.kind ?? profile.token
  const kind = wanted === 'auto' ? (claimsIn(access) === undefined ? 'id' : 'access') : wanted
  const token = kind === 'access' ? access : id
  const claims = claimsIn(token)
  if (token === undefined || claims?.exp === undefined) {
    throw new RingfenceError('USAGE', `the provider's ${kind} token is none that a door can verify`, {
      hint:
        kind === 'access'
          ? 'name the API that it is for with --resource, --audience or --scope; or --token id'
          : 'ask for it with --scope openid; or --token access',
    })
  }
  if (token.length > tokenBytesMax) {
    throw new RingfenceError('USAGE', `the token has ${token.length} bytes; a door takes ${tokenBytesMax}`, {
      hint: 'let the provider put fewer groups or claims into it',
    })
  }
  const names = [claims.preferred_username, claims.email, claims.name, claimsIn(id)?.preferred_username]
  const name = names.find((one) => typeof one === 'string' && one !== '') as string | undefined
  // A provider that gives no new one goes on with that of before (RFC 6749 §6).
  const refreshToken = answer.refresh_token ?? before?.refreshToken
  return {
    issuer: profile.issuer,
    clientId: profile.clientId,
    kind,
    token,
    expiresAtMs: claims.exp * 1000,
    obtainedAtMs: nowMs,
    subject: claims.sub ?? before?.subject ?? '',
    ...(refreshToken === undefined ? {} : { refreshToken }),
    ...(name === undefined && before?.name === undefined ? {} : { name: name ?? before?.name }),
  }
}

/** Of a JSON Web Token, not verified: who gave it was asked over TLS, and who is shown it verifies it. */
function claimsIn(token: string | undefined): ReturnType<typeof decodeJwt> | undefined {
  try {
    return token === undefined ? undefined : decodeJwt(token)
  } catch {
    return undefined
  }
}

/**
 * What went wrong at the provider, in words of ours and at most its error code and description.
 * @param sent secrets that it was sent: a description that quotes one is left out
 */
export function providerFault(reason: unknown, issuer: string, sent: readonly string[] = []): RingfenceError {
  if (reason instanceof RingfenceError) return reason
  const whom = `the identity provider ${printable(issuer)}`
  for (let one: unknown = reason; one instanceof Error; one = one.cause) {
    if (one instanceof ProviderAway) {
      return new RingfenceError('UNAVAILABLE', `${whom} does not answer: ${printable(one.message)}`, {
        hint: 'is the network there, and is the issuer written as it should be',
      })
    }
  }
  if (reason instanceof oidc.ResponseBodyError || reason instanceof oidc.AuthorizationResponseError) {
    const { error, error_description: described } = reason
    const isQuoting = sent.some((secret) => secret !== '' && described?.includes(secret) === true)
    const words = described === undefined || isQuoting ? '' : `: ${printable(described.slice(0, wordsMax))}`
    return new RingfenceError('UNAVAILABLE', `${whom} refuses (${printable(error.slice(0, 64))})${words}`, {
      hint: hints.get(error) ?? 'the settings of this client at the provider must allow it',
    })
  }
  const message = reason instanceof Error ? reason.message : 'no error'
  return new RingfenceError('UNAVAILABLE', `${whom} is not understood: ${printable(message.slice(0, wordsMax))}`, {
    hint: 'is this the issuer, and does it speak OpenID Connect',
  })
}

/** By the error codes of RFC 6749, 8628 and 8707. */
const hints: ReadonlyMap<string, string> = new Map([
  ['access_denied', 'somebody said no, or may not use this client'],
  ['expired_token', 'nobody confirmed in time; ringfence login again'],
  ['invalid_client', 'is --client-id right, and is it a public client (no secret)'],
  ['unauthorized_client', 'allow this grant (device, or code with PKCE) for the client at the provider'],
  ['invalid_scope', 'name the scopes that the provider knows with --scope'],
  ['invalid_target', 'name the API that the provider knows with --resource'],
])

function fetchFor({ issuerCaPem }: Profile): oidc.CustomFetch {
  return async (address, { method, headers, body, signal }) => {
    const { protocol, hostname, port, pathname, search } = new URL(address)
    if (protocol !== 'https:' && protocol !== 'http:') throw new ProviderAway(`${protocol} is not called`)
    const sent = body === undefined || body === null ? undefined : String(body)
    try {
      const answer = await callOutside(
        {
          protocol,
          method: method === 'POST' ? 'POST' : 'GET',
          host: hostname.replace(/^\[(.*)\]$/, '$1'),
          port: Number(port === '' ? (protocol === 'https:' ? 443 : 80) : port),
          path: pathname + search,
          headers: {
            ...headers,
            ...(sent === undefined ? {} : { 'content-length': String(Buffer.byteLength(sent)) }),
          },
          body: sent,
          ca: issuerCaPem === undefined ? undefined : [issuerCaPem],
          // The person named the provider, which may well be one of the own network.
          allowPrivate: true,
          msMax: callMsMax,
          answerBytesMax,
          signal,
        },
        resolveBySystem,
      )
      const { status, contentType, body: answered } = answer
      const hasBody = answered.length > 0 && status !== 204 && status !== 304
      return new Response(hasBody ? new Uint8Array(answered) : null, {
        status,
        headers: contentType === '' ? {} : { 'content-type': contentType },
      })
    } catch (reason) {
      throw new ProviderAway(reason instanceof Error ? reason.message : String(reason))
    }
  }
}
