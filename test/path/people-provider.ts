/** A real provider of OpenID Connect (`oidc-provider`) at which people log in by browser or by device. */
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Provider } from 'oidc-provider'
import type { TestKey } from '../../src/identity/jwt/tokens.fixture.ts'

export { Browser } from '../../demo/workloads/browser.ts'

export const clientId = 'ringfence-cli'

export interface PeopleOptions {
  /** Life of access tokens. */
  seconds?: number
  /** Without them nothing renews a log-in. */
  refreshTokens?: boolean
  groups?: Readonly<Record<string, readonly string[]>>
  /** Where a web application's log-in comes back to. */
  webRedirectUri?: string
}

export class PeopleProvider {
  readonly issuer: string
  /** Paths that were asked for. */
  readonly asked: string[] = []
  /** Every token that it gave, of whatever kind, and every code. */
  readonly given = new Set<string>()
  readonly options: PeopleOptions
  readonly #server: Server
  readonly #usual: RequestListener
  #handler: RequestListener

  private constructor(server: Server, key: TestKey, options: PeopleOptions) {
    this.#server = server
    this.options = options
    this.issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const callback = this.#provider(key).callback()
    this.#usual = (request, response) => {
      const end = response.end.bind(response)
      // What leaves is looked at for the canary.
      response.end = ((chunk?: unknown, ...more: never[]) => {
        if (typeof chunk === 'string' || Buffer.isBuffer(chunk)) this.#note(chunk.toString())
        return end(chunk as never, ...more)
      }) as typeof response.end
      void callback(request, response)
    }
    this.#handler = this.#usual
  }

  static async start(key: TestKey, options: PeopleOptions = {}): Promise<PeopleProvider> {
    const server = createServer((request, response) => {
      made.asked.push(request.url ?? '')
      made.#handler(request, response)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const made = new PeopleProvider(server, key, options)
    return made
  }

  /** Nobody is there. */
  away(): void {
    this.#handler = (request) => request.socket.destroy()
  }

  back(): void {
    this.#handler = this.#usual
  }

  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  #note(body: string): void {
    if (!body.startsWith('{')) return
    const answer = JSON.parse(body) as Record<string, unknown>
    for (const name of ['access_token', 'refresh_token', 'id_token', 'device_code']) {
      const value = answer[name]
      if (typeof value === 'string') this.given.add(value)
    }
  }

  #provider({ privateKey, kid, algorithm }: TestKey): Provider {
    const { options } = this
    return new Provider(this.issuer, {
      jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid, alg: algorithm, use: 'sig' }] },
      clients: [
        {
          client_id: clientId,
          token_endpoint_auth_method: 'none',
          application_type: 'native',
          grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
          response_types: ['code'],
          redirect_uris: ['http://127.0.0.1/callback'],
          id_token_signed_response_alg: algorithm,
        },
        ...(options.webRedirectUri === undefined ? [] : [webClient(options.webRedirectUri, algorithm)]),
      ],
      cookies: { keys: ['test'] },
      findAccount: (_: unknown, sub: string) => ({
        accountId: sub,
        claims: () => ({ sub, preferred_username: sub }),
      }),
      // A person says yes by another page, which is a matter of this provider only.
      issueRefreshToken: () => options.refreshTokens !== false,
      rotateRefreshToken: true,
      conformIdTokenClaims: false,
      claims: { openid: ['sub'], profile: ['preferred_username'] },
      features: {
        devInteractions: { enabled: true },
        deviceFlow: { enabled: true },
        revocation: { enabled: true },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => 'urn:ringfence',
          useGrantedResource: () => true,
          getResourceServerInfo: () => ({
            scope: '',
            audience: 'ringfence',
            accessTokenTTL: options.seconds ?? 300,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: algorithm, kid } },
          }),
        },
      },
      extraTokenClaims: (_: unknown, token: { accountId?: string }) => ({
        groups: options.groups?.[token.accountId ?? ''] ?? [],
      }),
    })
  }
}

export const webClientId = 'shop-web'
export const webClientSecret = 'a-secret-of-the-shop'

function webClient(redirectUri: string, algorithm: string): object {
  return {
    client_id: webClientId,
    client_secret: webClientSecret,
    token_endpoint_auth_method: 'client_secret_post',
    application_type: 'native',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: [redirectUri],
    id_token_signed_response_alg: algorithm,
  }
}
