/**
 * A person at the company's provider: she logs in by a browser, here one without a screen, as `ringfence login` does it, and the log-in is renewed
 * for as long as it is used. Settings come from the environment: DEMO_CORP (issuer), DEMO_SECRET (file with her password).
 */
import { logInByBrowser } from '../../src/people/log-in-by-browser.ts'
import type { Profile, Tokens } from '../../src/people/profile.ts'
import { discover, refreshed } from '../../src/people/provider.ts'
import { toolsClient } from '../providers/clients.ts'
import { readSecret } from '../providers/secrets.ts'
import { setting } from '../told.ts'
import { Browser } from './browser.ts'
import type { TokenSource } from './credentials.ts'

const logInMsMax = 30_000

export async function logIn(name: string): Promise<TokenSource> {
  const profile: Profile = { issuer: setting('DEMO_CORP'), clientId: toolsClient, token: 'access' }
  const browser = new Browser(name, readSecret(setting('DEMO_SECRET')))
  const open = (address: string): void => {
    // What goes wrong there is told by the log-in, which ends.
    browser.open(address).catch(() => {})
  }
  return await PersonTokens.begin({
    logIn: async () => logInByBrowser(await discover(profile), profile, open, logInMsMax),
    refresh: (tokens, refreshToken) => refreshed(profile, tokens, refreshToken, name, Date.now()),
  })
}

interface Provider {
  logIn(): Promise<Tokens>
  refresh(tokens: Tokens, refreshToken: string): Promise<Tokens>
}

export class PersonTokens implements TokenSource {
  readonly lifeMs: number
  readonly #provider: Provider
  readonly #nowMs: () => number
  #tokens: Tokens
  #renewal: Promise<Tokens> | undefined

  private constructor(provider: Provider, tokens: Tokens, nowMs: () => number) {
    this.#provider = provider
    this.#tokens = tokens
    this.#nowMs = nowMs
    this.lifeMs = tokens.expiresAtMs - tokens.obtainedAtMs
  }

  static async begin(provider: Provider, nowMs = Date.now): Promise<PersonTokens> {
    return new PersonTokens(provider, await provider.logIn(), nowMs)
  }

  async token(): Promise<string> {
    if (this.#tokens.expiresAtMs - this.#nowMs() < this.lifeMs / 2) {
      // Once for all connections: a refresh token is good for one use.
      this.#renewal ??= this.#renewed().finally(() => {
        this.#renewal = undefined
      })
      this.#tokens = await this.#renewal
    }
    return this.#tokens.token
  }

  /** By a new log-in where the provider does not know the old one any more, as after its restart. */
  async #renewed(): Promise<Tokens> {
    const { refreshToken } = this.#tokens
    if (refreshToken === undefined) return this.#provider.logIn()
    return this.#provider.refresh(this.#tokens, refreshToken).catch(() => this.#provider.logIn())
  }
}
