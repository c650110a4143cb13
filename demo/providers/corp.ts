/**
 * The company of the demonstration, whose people log in by OpenID Connect: a real provider (`oidc-provider`) with a page that asks for name and
 * password. Its key is made when it starts and is nowhere but in memory.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { type Interaction, Provider } from 'oidc-provider'
import { bodyOf } from './body.ts'
import { audience, shopClient, tokenSeconds, toolsClient } from './clients.ts'
import { isSecret } from './secrets.ts'

export interface CorpOptions {
  readonly issuer: string
  /** Of the web application. */
  readonly site: string
  readonly shopSecret: string
  readonly people: ReadonlyMap<string, { readonly password: string; readonly groups: readonly string[] }>
}

const algorithm = 'ES256'
const logInPath = '/log-in/'
const scopes = 'openid profile offline_access'

export function corpProvider(options: CorpOptions): RequestListener {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const kid = randomBytes(6).toString('hex')
  const key = { ...privateKey.export({ format: 'jwk' }), kid, alg: algorithm, use: 'sig' }
  const provider = new Provider(options.issuer, {
    jwks: { keys: [key] },
    clients: [
      {
        client_id: toolsClient,
        token_endpoint_auth_method: 'none',
        application_type: 'native',
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        redirect_uris: ['http://127.0.0.1/callback'],
        id_token_signed_response_alg: algorithm,
      },
      {
        client_id: shopClient,
        client_secret: options.shopSecret,
        token_endpoint_auth_method: 'client_secret_post',
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        redirect_uris: [`${options.site}/.ringfence/callback`],
        id_token_signed_response_alg: algorithm,
      },
    ],
    cookies: { keys: [randomBytes(18).toString('base64url')] },
    scopes: scopes.split(' '),
    claims: { openid: ['sub'], profile: ['preferred_username'] },
    findAccount: (_: unknown, sub: string) =>
      options.people.has(sub) ? { accountId: sub, claims: () => ({ sub, preferred_username: sub }) } : undefined,
    interactions: { url: (_: unknown, { uid }: { uid: string }) => logInPath + uid },
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    features: {
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => `urn:${audience}`,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: '',
          audience,
          accessTokenTTL: tokenSeconds,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: algorithm, kid } },
        }),
      },
    },
    extraTokenClaims: (_: unknown, { accountId = '' }: { accountId?: string }) => ({
      groups: options.people.get(accountId)?.groups ?? [],
    }),
  })
  const callback = provider.callback()
  const ask = new LogInPage(provider, options)
  return (request, response) => {
    const answered = request.url?.startsWith(logInPath) ? ask.answer(request, response) : callback(request, response)
    answered.catch((reason: unknown) => {
      console.error(reason)
      if (!response.headersSent) response.writeHead(500)
      response.end()
    })
  }
}

/** Who somebody is, by name and password; what a client wants is allowed without asking, since all are the company's own. */
class LogInPage {
  readonly #provider: Provider
  readonly #people: CorpOptions['people']

  constructor(provider: Provider, { people }: CorpOptions) {
    this.#provider = provider
    this.#people = people
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asked = await this.#provider.interactionDetails(request, response).catch(() => undefined)
    if (asked === undefined)
      return send(response, 400, '<p>This log-in is over. Go back to the page that you wanted.</p>')
    if (asked.prompt.name !== 'login') return this.#finish(request, response, { consent: await this.#allowed(asked) })
    if (request.method !== 'POST') return send(response, 200, form)
    const fields = new URLSearchParams(await bodyOf(request))
    const name = fields.get('login') ?? ''
    const person = this.#people.get(name)
    if (person === undefined || !isSecret(fields.get('password') ?? '', person.password))
      return send(response, 403, '<p>Name or password are not right. Go back and try again.</p>')
    return this.#finish(request, response, { login: { accountId: name } })
  }

  #finish(request: IncomingMessage, response: ServerResponse, result: { login?: object; consent?: object }) {
    const mergeWithLastSubmission = result.login === undefined
    return this.#provider.interactionFinished(request, response, result, { mergeWithLastSubmission })
  }

  async #allowed({ prompt, params, session, grantId }: Interaction): Promise<{ grantId: string }> {
    const known = grantId === undefined ? undefined : await this.#provider.Grant.find(grantId)
    const of = { accountId: session?.accountId ?? '', clientId: params.client_id }
    const grant = known ?? new this.#provider.Grant(of)
    grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(' '))
    for (const [resource, missing] of Object.entries(prompt.details.missingResourceScopes ?? {}))
      grant.addResourceScope(resource, missing.join(' '))
    return { grantId: await grant.save() }
  }
}

const form = `<form method="post">
<p><label>Name <input name="login" autofocus></label></p>
<p><label>Password <input name="password" type="password"></label></p>
<p><button type="submit">Log in</button></p>
</form>`

function send(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  })
  response.end(`<!doctype html><title>corp</title><h1>corp</h1>\n${body}\n`)
}
