/**
 * Who stands behind an HTTP request, for NGINX (`auth_request`) in front of an application. It answers with a transaction token for that
 * application, or sends a browser to log in.
 *
 *   browser ─ page ─▶ NGINX ─ /authenticate ─▶ door ─ cookie or bearer token ─▶ verified here ─▶ control plane ─▶ Txn-Token ─▶ application
 *                       └─ 401: /log-in ─▶ provider ─ /callback ─▶ session cookie
 *
 * Rule: what NGINX gets is for one application, which NGINX names. Nothing that a client sends is passed on as who it is.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { type AddressInfo, isIP } from 'node:net'
import { contained, containOwnFault, nothingEnds, settle } from '../../base/contained.ts'
import { sha256Hex } from '../../base/digest.ts'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { evidenceOfPassword } from '../../identity/proofs/index.ts'
import type { ProvidersInForce, TokenIdentity } from '../../identity/providers/in-force.ts'
import { LogInRefused } from '../../identity/refusal.ts'
import { revokedText } from '../../identity/revoked/revocation.ts'
import { factsOf, type Revocations } from '../../identity/revoked/revocations.ts'
import { addressBlock } from '../../mesh/address-block.ts'
import { createServer } from '../../mesh/http.ts'
import type { RefusedPart } from '../../mesh/refused-log-ins.ts'
import type { Tokens } from '../../people/profile.ts'
import { LogInRefusals } from '../../session/refusals.ts'
import type { Logger } from '../../telemetry/log.ts'
import { logServerErrors } from '../../telemetry/server-errors.ts'
import { type Answer, cookie, redirect, refused, send } from './answer.ts'
import {
  applicationHeader,
  clientHeader,
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
import { returnPath } from './return-path.ts'
import { type BrowserSession, BrowserSessions, logInMsMax, sessionMsMax } from './sessions.ts'
import { type AskForTxn, TxnSource } from './txn-source.ts'

export interface HttpDoorOptions {
  readonly config: HttpConfig
  readonly providers: ProvidersInForce
  readonly revocations: Revocations
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

/** Whose request it is, and for what. */
interface Asking {
  readonly shown: Shown
  readonly application: Application
  /** Of the client, as NGINX sees it. */
  readonly address: string
}

export class HttpDoor {
  readonly #options: HttpDoorOptions
  readonly #nowMs: () => number
  readonly #applications: ReadonlyMap<string, Application>
  readonly #sessions = new BrowserSessions()
  readonly #txn: TxnSource
  readonly #refusals: LogInRefusals
  readonly #server: Server

  /** @throws RingfenceError CONFIG */
  constructor(options: HttpDoorOptions) {
    this.#options = options
    this.#nowMs = options.nowMs ?? Date.now
    this.#txn = new TxnSource(options.ask, this.#nowMs)
    this.#refusals = new LogInRefusals(options.log, this.#nowMs)
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

  /** What was refused since this was called before. */
  takeRefused(): RefusedPart {
    return this.#refusals.takeRecent()
  }

  async start(): Promise<void> {
    const { address, port } = this.#options.config
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, address, resolve)
    })
    logServerErrors(this.#server, this.#options.log)
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
    const { url = '', headers } = request
    // As it stands: what is made equal to another path by reading it as browsers do is not that path.
    const [path = '', ...query] = url.split('?')
    if (url.length > pathCharsMax) return { status: 400, words: 'not an address' }
    const shown = shownBy(request.rawHeaders)
    if (shown.kind === 'refused') return refused(shown.status, shown.words)
    const application = this.#applications.get(String(headers[applicationHeader] ?? ''))
    if (application === undefined) return { status: 400, words: 'NGINX names no application that is known here' }
    const address = String(headers[clientHeader] ?? '')
    if (isIP(address) === 0) return { status: 400, words: 'NGINX does not say whose request this is' }
    const asking: Asking = { shown, application, address }
    const parameters = new URLSearchParams(query.join('?'))
    switch (path) {
      case '/authenticate':
        return await this.#authenticate(asking)
      case '/.ringfence/log-in':
        return await this.#logIn(request, asking, parameters)
      case callbackPath:
        return await this.#callback(request, asking, parameters)
      case '/.ringfence/log-out':
        return this.#logOut(request, asking)
      default:
        return { status: 404, words: 'there is nothing here' }
    }
  }

  async #authenticate(asking: Asking): Promise<Answer> {
    const { shown, application } = asking
    const { config, logIns } = application
    if (shown.kind === 'bearer') return await this.#bearer(shown.token, asking)
    if (shown.kind !== 'session') return refused(401, 'nobody is logged in')
    const session = this.#sessions.find(shown.id, config.name, this.#nowMs())
    if (session === undefined) return refused(401, 'nobody is logged in')
    await this.#renewed(session, logIns)
    const { token } = session.tokens
    let found: TokenIdentity
    try {
      found = await this.#verified(token, asking.address)
    } catch (reason) {
      // Whose session it is was verified when it began, so that its end is no refused log-in.
      if (!(reason instanceof LogInRefused)) throw reason
      this.#options.log.info({ cause: reason.why, tokenHash: sha256Hex(token) }, 'a log-in is over')
      return refused(401, 'nobody is logged in')
    }
    return await this.#answerFor(found, token, config)
  }

  /** Who was verified, and is known still, is looked at whatever others do; anybody else only within the bounds of refused log-ins. */
  async #bearer(token: string, asking: Asking): Promise<Answer> {
    const { address, application } = asking
    let claimed: string | undefined
    let found: TokenIdentity
    try {
      claimed = evidenceOfPassword(token).claimed
      if (!this.#options.providers.current.knows(token, this.#nowMs())) this.#refusals.beforeAttempt(address, claimed)
      found = await this.#verified(token, address)
      if (claimed !== undefined) this.#refusals.entered(address, claimed)
    } catch (reason) {
      if (!(reason instanceof LogInRefused)) throw reason
      const words = this.#noted(reason, asking, claimed)
      // NGINX knows 401 and 403 only. Who is to wait need not log in.
      return refused(isTooMany(reason) ? 403 : 401, words)
    }
    return await this.#answerFor(found, token, application.config)
  }

  /** @throws LogInRefused */
  async #verified(token: string, address: string): Promise<TokenIdentity> {
    const { providers, revocations, trustDomain } = this.#options
    try {
      const found = await providers.current.verify(token, trustDomain, this.#nowMs(), addressBlock(address))
      const revoked = revocations.find(factsOf(found), this.#nowMs())
      if (revoked === undefined) return found
      const { person, subject, provider, issuer, tokenId, hash } = found
      const evidence = { provider, issuer, tokenId, hash, claimed: person ?? subject }
      throw new LogInRefused('revoked', revokedText(revoked.id), { evidence })
    } catch (cause) {
      if (!(cause instanceof RingfenceError) || cause.code !== 'IDENTITY' || cause instanceof LogInRefused) throw cause
      throw new LogInRefused('other', cause.message, { cause })
    }
  }

  async #answerFor({ person }: TokenIdentity, token: string, { workload }: ApplicationConfig): Promise<Answer> {
    if (person === undefined) return refused(401, 'the token is not of a person')
    const made = await this.#txn.tokenFor(token, workload)
    return { status: 204, headers: { [txnTokenHeader]: made.token } }
  }

  /** Counts and tells a refusal; what the client may hear. */
  #noted(reason: unknown, { address, application }: Asking, claimed: string | undefined): string {
    const listener = `http of ${application.config.name}`
    const where = { address, port: 0, listener, driverName: undefined }
    const answer = this.#refusals.answer('words', { ...where, reason, claimed })
    return answer.kind === 'error' ? answer.error.message : 'refused'
  }

  /** Where it cannot be renewed, what there is counts to its end. */
  async #renewed(session: BrowserSession, logIns: LogIns | undefined): Promise<void> {
    const { refreshToken, expiresAtMs } = session.tokens
    if (logIns === undefined || refreshToken === undefined || expiresAtMs - this.#nowMs() >= renewedBeforeMs) return
    session.renewal ??= this.#renew(session, logIns, refreshToken)
    await session.renewal
  }

  async #renew(session: BrowserSession, logIns: LogIns, refreshToken: string): Promise<void> {
    try {
      session.tokens = await logIns.renew(session.tokens, refreshToken)
    } catch (reason) {
      containOwnFault('the renewal of a log-in', reason)
      this.#options.log.info(toldOf(reason), 'a log-in was not renewed')
    } finally {
      session.renewal = undefined
    }
  }

  /** A page goes to the provider; anything else is told that nobody is logged in. */
  async #logIn({ headers, method }: IncomingMessage, asking: Asking, query: URLSearchParams): Promise<Answer> {
    const { logIns } = asking.application
    const isPage = method === 'GET' && (headers.accept ?? '').includes('text/html')
    if (logIns === undefined || !isPage) return refused(401, 'nobody is logged in')
    const wanted = headers[returnHeader] ?? query.get('to')
    const returnTo = returnPath(typeof wanted === 'string' ? wanted : null)
    const { location, browser } = await logIns.begin(returnTo, asking.address)
    return redirect(location, [cookie(logInCookie, browser, logInMsMax)])
  }

  async #callback(request: IncomingMessage, asking: Asking, query: URLSearchParams): Promise<Answer> {
    const { application, address } = asking
    const { config, logIns } = application
    const state = query.get('state') ?? ''
    const [browser = '', ...more] = cookiesOf([request.headers.cookie ?? ''], logInCookie)
    try {
      // Before the provider is asked about a code, and before this log-in is spent.
      this.#refusals.beforeAttempt(address, undefined)
      const pending = more.length > 0 ? undefined : this.#sessions.take(state, browser, config.name, this.#nowMs())
      if (logIns === undefined || pending === undefined) throw new NotBegun()
      const tokens = await this.#ended(logIns.end(query, state, pending), asking)
      return await this.#entered(tokens, pending.returnTo, asking)
    } catch (reason) {
      if (!(reason instanceof LogInRefused)) throw reason
      const words = this.#noted(reason, asking, undefined)
      if (isTooMany(reason)) return { status: 429, headers: { 'retry-after': '1' }, words }
      if (reason instanceof NotBegun) return { status: 400, words: reason.message }
      return { status: 403, words: 'you are known, and may not log in here' }
    }
  }

  /** Codes that the provider refuses count as log-ins that are. */
  async #ended(ending: Promise<Tokens>, asking: Asking): Promise<Tokens> {
    try {
      return await ending
    } catch (reason) {
      this.#noted(reason, asking, undefined)
      throw reason
    }
  }

  async #entered(tokens: Tokens, returnTo: string, { application, address }: Asking): Promise<Answer> {
    const { name } = application.config
    const { token } = tokens
    const answer = await this.#answerFor(await this.#verified(token, address), token, application.config)
    if (answer.status !== 204) throw new LogInRefused('claims', 'the provider gave a token that is not of a person')
    const { claimed } = evidenceOfPassword(token)
    if (claimed !== undefined) this.#refusals.entered(address, claimed)
    const session = { application: name, beganMs: this.#nowMs(), tokens, renewal: undefined }
    const id = this.#sessions.begin(session)
    this.#options.log.info({ application: name, tokenHash: sha256Hex(token) }, 'a person logged in')
    return redirect(returnTo, [cookie(sessionCookie, id, sessionMsMax), cookie(logInCookie, '', 0)])
  }

  /** By POST of the application's own pages only: no other page ends a session. */
  #logOut({ method, headers }: IncomingMessage, { application }: Asking): Answer {
    if (method !== 'POST') return { status: 405, words: 'POST ends a session' }
    const { origin } = headers
    if (origin !== undefined && origin !== application.config.url?.replace(/\/$/, ''))
      return { status: 403, words: 'this page may not end a session' }
    // Whatever else is shown beside it.
    for (const id of cookiesOf([headers.cookie ?? ''], sessionCookie)) this.#sessions.end(id)
    return { status: 200, headers: { 'set-cookie': [cookie(sessionCookie, '', 0)] }, words: 'You are logged out.' }
  }

  #failed(reason: unknown): Answer {
    containOwnFault('a request over HTTP', reason)
    const isIdentity = reason instanceof RingfenceError && reason.code === 'IDENTITY'
    this.#options.log.warn(toldOf(reason), 'a request over HTTP failed')
    return { status: isIdentity ? 403 : 503, words: 'not now; try again' }
  }
}

/** A log-in that came back, and is none of this browser's. */
class NotBegun extends LogInRefused {
  constructor() {
    super('other', 'this log-in was not begun in this browser, or is over; go back to the page that you wanted')
  }
}

/** For the log; a stranger's words may quote what it was given. */
function toldOf(reason: unknown): object {
  return reason instanceof RingfenceError ? { code: reason.code, reason: reason.message } : { err: reason }
}

function isTooMany(reason: unknown): boolean {
  return reason instanceof LogInRefused && reason.why === 'too-many-attempts'
}
