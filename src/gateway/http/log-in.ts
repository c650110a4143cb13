/**
 * A browser's log-in for one application, by authorization code with PKCE (RFC 7636) at the application's identity provider. The provider sends
 * the browser back to the application's own host, and NGINX passes that on to us.
 */
import { readFileSync } from 'node:fs'
import * as oidc from 'openid-client'
import { RingfenceError } from '../../base/errors.ts'
import type { Profile, Tokens } from '../../people/profile.ts'
import { asked, discover, providerFault, refreshed, tokensOf } from '../../people/provider.ts'
import type { ApplicationConfig, LogInConfig } from './http-config.ts'
import { type BrowserSessions, logInMsMax, type Pending } from './sessions.ts'

export const callbackPath = '/.ringfence/callback'
/** The provider's own words about itself are asked for anew after so long. */
const configurationMsMax = 10 * 60_000

export class LogIns {
  readonly #profile: Profile
  readonly #application: string
  readonly #url: string
  readonly #sessions: BrowserSessions
  readonly #nowMs: () => number
  #configuration: { readonly found: oidc.Configuration; readonly atMs: number } | undefined
  /** Asked for, and not here yet. */
  #asking: Promise<oidc.Configuration> | undefined

  /** @throws RingfenceError CONFIG for a file that cannot be read */
  constructor(application: ApplicationConfig, given: LogInConfig, sessions: BrowserSessions, nowMs: () => number) {
    this.#application = application.name
    this.#url = (application.url ?? '').replace(/\/$/, '')
    this.#sessions = sessions
    this.#nowMs = nowMs
    const { issuer, clientId, clientSecretFile, scopes, resource, audience, token, caFile } = given
    this.#profile = {
      issuer,
      clientId,
      token,
      ...(clientSecretFile === undefined ? {} : { clientSecret: readText(clientSecretFile).trim() }),
      ...(scopes === undefined ? {} : { scopes }),
      ...(resource === undefined ? {} : { resource }),
      ...(audience === undefined ? {} : { audience }),
      ...(caFile === undefined ? {} : { issuerCaPem: readText(caFile) }),
    }
  }

  /** Where the browser is to go, and the cookie by which it is known when it comes back. @throws RingfenceError */
  async begin(returnTo: string, address: string): Promise<{ readonly location: string; readonly browser: string }> {
    const configuration = await this.#discovered()
    const [nonce, verifier] = [oidc.randomNonce(), oidc.randomPKCECodeVerifier()]
    const nowMs = this.#nowMs()
    const pending = { application: this.#application, verifier, nonce, returnTo, endMs: nowMs + logInMsMax }
    const { state, browser } = this.#sessions.await(address, pending, nowMs)
    const { scope = '', ...more } = asked(this.#profile, configuration)
    const location = oidc.buildAuthorizationUrl(configuration, {
      ...more,
      scope,
      redirect_uri: this.#url + callbackPath,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      state,
      nonce,
    })
    return { location: location.href, browser }
  }

  /** @param query what the provider sent the browser back with. @throws RingfenceError */
  async end(query: URLSearchParams, state: string, { verifier, nonce }: Pending): Promise<Tokens> {
    const configuration = await this.#discovered()
    const { scope = '', ...more } = asked(this.#profile, configuration)
    const back = new URL(this.#url + callbackPath)
    back.search = query.toString()
    const isOpenId = scope.split(' ').includes('openid')
    const checks = { expectedState: state, pkceCodeVerifier: verifier, ...(isOpenId ? { expectedNonce: nonce } : {}) }
    try {
      return tokensOf(
        this.#profile,
        await oidc.authorizationCodeGrant(configuration, back, checks, more),
        this.#nowMs(),
      )
    } catch (reason) {
      throw providerFault(reason, this.#profile.issuer, [query.get('code') ?? '', verifier])
    }
  }

  /** @throws RingfenceError where the person has to log in again, or the provider is away */
  renew(tokens: Tokens, refreshToken: string): Promise<Tokens> {
    return refreshed(this.#profile, tokens, refreshToken, 'default', this.#nowMs())
  }

  /** Asked for once, however many browsers wait for it. */
  async #discovered(): Promise<oidc.Configuration> {
    const known = this.#configuration
    if (known !== undefined && this.#nowMs() - known.atMs < configurationMsMax) return known.found
    this.#asking ??= this.#discover()
    return await this.#asking
  }

  async #discover(): Promise<oidc.Configuration> {
    try {
      const found = await discover(this.#profile)
      this.#configuration = { found, atMs: this.#nowMs() }
      return found
    } finally {
      this.#asking = undefined
    }
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new RingfenceError('CONFIG', `cannot read ${file}`, { cause })
  }
}
