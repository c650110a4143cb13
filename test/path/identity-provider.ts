/** A real provider of OpenID Connect (`oidc-provider`) on loopback, whose keys a test rotates and which it takes away. */
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Provider } from 'oidc-provider'
import type { TestKey } from '../../src/identity/jwt/tokens.fixture.ts'

export interface Client {
  readonly id: string
  readonly groups: readonly string[]
  readonly audience?: string
  readonly seconds?: number
  /** For tokens of other sizes. */
  readonly padding?: number
}

export class IdentityProvider {
  readonly issuer: string
  /** Paths that were asked for. */
  readonly asked: string[] = []
  readonly #server: Server
  readonly #clients: readonly Client[]
  #handler: RequestListener = (_, response) => response.writeHead(503).end()

  private constructor(server: Server, clients: readonly Client[]) {
    this.#server = server
    this.#clients = clients
    this.issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  static async start(clients: readonly Client[], keys: readonly TestKey[]): Promise<IdentityProvider> {
    const server = createServer((request, response) => {
      made.asked.push(request.url ?? '')
      made.#handler(request, response)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const made = new IdentityProvider(server, clients)
    made.use(keys)
    return made
  }

  /** It signs with the first of these and publishes all, in its own words for its issuer. */
  use(keys: readonly TestKey[], issuer = this.issuer): void {
    const clients = this.#clients
    const of = (id: string): Client => clients.find((one) => one.id === id)!
    const provider = new Provider(issuer, {
      jwks: {
        keys: keys.map(({ privateKey, kid, algorithm }) => ({
          ...privateKey.export({ format: 'jwk' }),
          kid,
          alg: algorithm,
          use: 'sig',
        })),
      },
      clients: clients.map(({ id }) => ({
        client_id: id,
        client_secret: 'secret',
        grant_types: ['client_credentials'],
        id_token_signed_response_alg: keys[0]!.algorithm,
        redirect_uris: [],
        response_types: [],
      })),
      cookies: { keys: ['test'] },
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => 'urn:ringfence',
          getResourceServerInfo: (_: unknown, __: unknown, client: { clientId: string }) => ({
            scope: '',
            audience: of(client.clientId).audience ?? 'ringfence',
            accessTokenTTL: of(client.clientId).seconds ?? 300,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: keys[0]!.algorithm, kid: keys[0]!.kid } },
          }),
        },
      },
      extraTokenClaims: (_: unknown, token: { clientId: string }) => {
        const { groups, padding = 0 } = of(token.clientId)
        return { groups, padding: 'x'.repeat(padding) }
      },
    })
    const callback = provider.callback()
    this.#handler = (request, response) => void callback(request, response)
  }

  /** Nobody is there. */
  away(): void {
    this.#handler = (request) => request.socket.destroy()
  }

  /** As a job gets it: the grant of client credentials. */
  async token(id: string): Promise<string> {
    const response = await fetch(`${this.issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${id}:secret`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
    })
    const answer = (await response.json()) as { access_token?: string }
    if (answer.access_token === undefined) throw new Error(JSON.stringify(answer))
    return answer.access_token
  }

  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}
