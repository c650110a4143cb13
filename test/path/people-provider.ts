/** A real provider of OpenID Connect (`oidc-provider`) at which people log in by browser or by device, and a browser without a screen for them. */
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Provider } from 'oidc-provider'
import type { TestKey } from '../../src/identity/jwt/tokens.fixture.ts'

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

/** Follows redirects with its cookies, and fills in what it is asked. */
export class Browser {
  readonly #cookies = new Map<string, Map<string, string>>()
  readonly #who: string

  constructor(who: string) {
    this.#who = who
  }

  /** Opens an address and goes on until there is nothing more to fill in; what the last page says. */
  async open(address: string): Promise<{ status: number; text: string; url: string }> {
    let page = await this.#get(address)
    for (let step = 0; step < 12; step++) {
      const form = formIn(page.text, this.#who)
      if (form === undefined) return page
      page = await this.#get(new URL(form.action || page.url, page.url).href, form.fields)
    }
    throw new Error(`no end of forms: ${page.text}`)
  }

  async #get(address: string, fields?: URLSearchParams): Promise<{ status: number; text: string; url: string }> {
    let [url, body] = [address, fields]
    for (let step = 0; step < 12; step++) {
      const { host } = new URL(url)
      const jar = this.#cookies.get(host) ?? new Map<string, string>()
      this.#cookies.set(host, jar)
      const response = await fetch(url, {
        redirect: 'manual',
        method: body === undefined ? 'GET' : 'POST',
        headers: {
          accept: 'text/html',
          cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; '),
        },
        ...(body === undefined ? {} : { body }),
      })
      for (const line of response.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
        if (value === '') jar.delete(name)
        else jar.set(name, value)
      }
      const location = response.headers.get('location')
      if (location === null) return { status: response.status, text: await response.text(), url }
      await response.arrayBuffer()
      url = new URL(location, url).href
      body = undefined
    }
    throw new Error(`no end of redirects at ${url}`)
  }
}

/** The first form of a page, filled in as somebody who says yes. */
function formIn(page: string, who: string): { action: string; fields: URLSearchParams } | undefined {
  const [, attributes = '', inside = ''] = /<form([^>]*)>([\s\S]*?)<\/form>/.exec(page) ?? []
  if (inside === '' || /logout|abort/.test(attributes)) return undefined
  const fields = new URLSearchParams()
  for (const [input] of inside.matchAll(/<(?:input|button)[^>]*>/g)) {
    const [, name] = /name="([^"]+)"/.exec(input) ?? []
    const [, value = ''] = /value="([^"]*)"/.exec(input) ?? []
    if (name === undefined || name === 'abort') continue
    fields.set(name, name === 'login' ? who : name === 'password' ? 'x' : value)
  }
  return { action: /action="([^"]*)"/.exec(attributes)?.[1] ?? '', fields }
}
