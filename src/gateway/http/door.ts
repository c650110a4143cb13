/**
 * Who stands behind an HTTP request, for NGINX (`auth_request`) in front of an application. It answers with a transaction token for that
 * application, or sends a browser to log in.
 *
 *   browser ─ page ─▶ NGINX ─ /authenticate ─▶ door ─ cookie or bearer token ─▶ verified here ─▶ control plane ─▶ Txn-Token ─▶ application
 *                       └─ 401: /log-in ─▶ provider ─ /callback ─▶ session cookie
 *
 * Rule: what NGINX gets is for one application, which NGINX names. Nothing that a client sends is passed on as who it is.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { contained, containOwnFault, nothingEnds, settle } from '../../base/contained.ts'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { hashOf } from '../../identity/jwt/verify.ts'
import type { ProvidersInForce, TokenIdentity } from '../../identity/providers/in-force.ts'
import { LogInRefused } from '../../identity/refusal.ts'
import type { Logger } from '../../telemetry/log.ts'
import {
  applicationHeader,
  cookiesOf,
  logInCookie,
  returnHeader,
  type Shown,
  sessionCookie,
  shownBy,
  txnTokenHeader,
} from './headers.ts'
import type { ApplicationConfig, HttpConfig } from './http-config.ts'
import { callbackPath, LogIns } from './log-in.ts'
import { type BrowserSession, BrowserSessions, logInMsMax, sessionMsMax } from './sessions.ts'
import { type AskForTxn, TxnSource } from './txn-source.ts'

export interface HttpDoorOptions {
  readonly config: HttpConfig
  readonly providers: ProvidersInForce
  readonly trustDomain: string
  readonly ask: AskForTxn
  readonly log: Logger
  readonly nowMs?: () => number
}

interface Application {
  readonly config: ApplicationConfig
  readonly logIns: LogIns | undefined
}

/** So long before its end a browser's token is renewed, where the provider gave a refresh token. */
const renewedBeforeMs = 60_000
/** A token of 64 KiB, and what else a browser sends. */
const headBytesMax = 96 * 1024
const requestMsMax = 10_000
/** Longer than NGINX keeps a connection that is idle, so that it closes first. */
const idleMsMax = 75_000
const pathCharsMax = 4096

/** What is answered; the body is for people who look. */
interface Answer {
  readonly status: number
  readonly headers?: Record<string, string | readonly string[]>
  readonly words?: string
}

export class HttpDoor {
  readonly #options: HttpDoorOptions
  readonly #nowMs: () => number
  readonly #applications: ReadonlyMap<string, Application>
  readonly #sessions = new BrowserSessions()
  readonly #txn: TxnSource
  readonly #server: Server

  /** @throws RingfenceError CONFIG */
  constructor(options: HttpDoorOptions) {
    this.#options = options
    this.#nowMs = options.nowMs ?? Date.now
    this.#txn = new TxnSource(options.ask, this.#nowMs)
    this.#applications = new Map(
      options.config.applications.map((config) => {
        const { logIn } = config
        const logIns = logIn === undefined ? undefined : new LogIns(config, logIn, this.#sessions, this.#nowMs)
        return [config.name, { config, logIns }]
      }),
    )
    this.#server = createServer(
      {
        maxHeaderSize: headBytesMax,
        requestTimeout: requestMsMax,
        headersTimeout: requestMsMax,
        keepAliveTimeout: idleMsMax,
      },
      contained(nothingEnds, 'a request over HTTP', (request: IncomingMessage, response: ServerResponse) =>
        this.#serve(request, response),
      ),
    )
    this.#server.maxConnections = limits.httpConnectionsMax
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async start(): Promise<void> {
    const { address, port } = this.#options.config
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, address, resolve)
    })
    this.#options.log.info({ address, port: this.port }, 'listening for HTTP')
  }

  stop(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    // Bodies say nothing here.
    request.resume()
    settle(
      nothingEnds,
      'an answer over HTTP',
      this.#answer(request),
      (answer) => send(response, answer),
      (reason) => send(response, this.#failed(reason)),
    )
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    const url = URL.parse(request.url ?? '', 'http://gateway')
    if (url === null || (request.url?.length ?? 0) > pathCharsMax) return { status: 400, words: 'not an address' }
    const shown = shownBy(request.rawHeaders)
    if (shown.kind === 'refused') return this.#refused(shown.status, shown.words)
    const application = this.#applications.get(String(request.headers[applicationHeader] ?? ''))
    if (application === undefined) return { status: 400, words: 'NGINX names no application that is known here' }
    switch (url.pathname) {
      case '/authenticate':
        return await this.#authenticate(shown, application)
      case '/.ringfence/log-in':
        return await this.#logIn(request, application, url)
      case callbackPath:
        return await this.#callback(request, application, url.searchParams)
      case '/.ringfence/log-out':
        return this.#logOut(request, shown, application)
      default:
        return { status: 404, words: 'there is nothing here' }
    }
  }

  async #authenticate(shown: Shown, { config, logIns }: Application): Promise<Answer> {
    if (shown.kind === 'bearer') return await this.#tokenOf(shown.token, config)
    if (shown.kind !== 'session') return this.#refused(401, 'nobody is logged in')
    const session = this.#sessions.find(shown.id, config.name, this.#nowMs())
    if (session === undefined) return this.#refused(401, 'nobody is logged in')
    await this.#renewed(session, logIns)
    return await this.#tokenOf(session.tokens.token, config)
  }

  async #tokenOf(token: string, { workload }: ApplicationConfig): Promise<Answer> {
    let found: TokenIdentity
    try {
      found = await this.#options.providers.current.verify(token, this.#options.trustDomain, this.#nowMs())
    } catch (reason) {
      if (!(reason instanceof RingfenceError) || reason.code !== 'IDENTITY') throw reason
      const cause = reason instanceof LogInRefused ? reason.why : 'other'
      this.#options.log.info({ cause, tokenHash: hashOf(token) }, 'log-in over HTTP refused')
      return this.#refused(
        401,
        (reason instanceof LogInRefused ? reason.words : undefined) ?? 'these credentials are not accepted here',
      )
    }
    if (found.person === undefined) return this.#refused(401, 'the token is not of a person')
    const made = await this.#txn.tokenFor(token, workload)
    return { status: 204, headers: { [txnTokenHeader]: made.token } }
  }

  /** Where it cannot be renewed, what there is counts to its end. */
  async #renewed(session: BrowserSession, logIns: LogIns | undefined): Promise<void> {
    const { tokens } = session
    const isDue = tokens.refreshToken !== undefined && tokens.expiresAtMs - this.#nowMs() < renewedBeforeMs
    if (logIns === undefined || !isDue) return
    session.renewal ??= this.#renew(session, logIns)
    await session.renewal
  }

  async #renew(session: BrowserSession, logIns: LogIns): Promise<void> {
    try {
      session.tokens = await logIns.renew(session.tokens)
    } catch (reason) {
      containOwnFault('the renewal of a log-in', reason)
      this.#options.log.info({ reason: reason instanceof Error ? reason.message : '' }, 'a log-in was not renewed')
    } finally {
      session.renewal = undefined
    }
  }

  /** A page goes to the provider; anything else is told that nobody is logged in. */
  async #logIn({ headers, method }: IncomingMessage, { logIns }: Application, url: URL): Promise<Answer> {
    const isPage = method === 'GET' && (headers.accept ?? '').includes('text/html')
    if (logIns === undefined || !isPage) return this.#refused(401, 'nobody is logged in')
    const wanted = headers[returnHeader] ?? url.searchParams.get('to')
    const { location, browser } = await logIns.begin(pathOf(typeof wanted === 'string' ? wanted : null))
    return redirect(location, [cookie(logInCookie, browser, logInMsMax)])
  }

  async #callback(request: IncomingMessage, application: Application, query: URLSearchParams): Promise<Answer> {
    const { config, logIns } = application
    const state = query.get('state') ?? ''
    const [browser = '', ...more] = cookiesOf([request.headers.cookie ?? ''], logInCookie)
    const pending = more.length > 0 ? undefined : this.#sessions.take(state, browser, config.name, this.#nowMs())
    if (logIns === undefined || pending === undefined)
      return {
        status: 400,
        words: 'this log-in was not begun in this browser, or is over; go back to the page that you wanted',
      }
    const tokens = await logIns.end(query, state, pending)
    const answer = await this.#tokenOf(tokens.token, config)
    if (answer.status !== 204) return { status: 403, words: 'you are known, and may not log in here' }
    const session = { application: config.name, beganMs: this.#nowMs(), tokens, renewal: undefined }
    const id = this.#sessions.begin(session)
    this.#options.log.info({ application: config.name, tokenHash: hashOf(tokens.token) }, 'a person logged in')
    return redirect(pending.returnTo, [cookie(sessionCookie, id, sessionMsMax), cookie(logInCookie, '', 0)])
  }

  /** By POST of the application's own pages only: no other page ends a session. */
  #logOut({ method, headers }: IncomingMessage, shown: Shown, { config }: Application): Answer {
    if (method !== 'POST') return { status: 405, words: 'POST ends a session' }
    const { origin } = headers
    if (origin !== undefined && origin !== config.url?.replace(/\/$/, ''))
      return { status: 403, words: 'this page may not end a session' }
    if (shown.kind === 'session') this.#sessions.end(shown.id)
    return { status: 200, headers: { 'set-cookie': [cookie(sessionCookie, '', 0)] }, words: 'You are logged out.' }
  }

  #refused(status: 401 | 403, words: string): Answer {
    return status === 403
      ? { status, headers: { connection: 'close' }, words }
      : { status, headers: { 'www-authenticate': 'Bearer realm="ringfence"' }, words }
  }

  #failed(reason: unknown): Answer {
    containOwnFault('a request over HTTP', reason)
    const { code, message } = RingfenceError.from(reason, 'UNAVAILABLE')
    this.#options.log.warn({ code, reason: message }, 'a request over HTTP failed')
    return { status: code === 'IDENTITY' ? 403 : 503, words: 'not now; try again' }
  }
}

/** A path of the application's own; nothing that leads elsewhere. */
function pathOf(wanted: string | null): string {
  if (wanted === null || !/^\/[\x21-\x7e]*$/.test(wanted) || /^\/[/\\]/.test(wanted)) return '/'
  const url = URL.parse(wanted, 'http://application')
  if (url === null || url.host !== 'application' || url.pathname.startsWith('/.ringfence/')) return '/'
  return url.pathname + url.search
}

function redirect(location: string, cookies: readonly string[]): Answer {
  return { status: 302, headers: { location, 'set-cookie': cookies } }
}

/** `__Host-`: of this host only, over TLS only. An empty one goes. */
function cookie(name: string, value: string, ms: number): string {
  return `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=${Math.floor(ms / 1000)}`
}

function send(response: ServerResponse, { status, headers = {}, words }: Answer): void {
  response.writeHead(status, {
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    ...(words === undefined ? {} : { 'content-type': 'text/plain; charset=utf-8' }),
    ...(headers as Record<string, string | string[]>),
  })
  response.end(words === undefined ? undefined : `${words}\n`)
}
