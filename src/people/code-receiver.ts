/**
 * The port on loopback at which a log-in by browser begins and ends.
 *
 *     browser ── GET /<random> ──▶ here ── 302, cookie ──▶ provider … ── 302 ──▶ GET /callback, cookie ──▶ here
 *
 * Rule: the browser that began is the one that ends. The address that a browser is started with stands in the list of processes, so another
 * user of the machine may read it; the first browser that comes gets a cookie, any other gets nothing, and without the cookie no code is taken.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, contained, type Owner } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { createServer } from '../mesh/http.ts'

const cookieName = 'ringfence-log-in'
const headersMsMax = 10_000

export class CodeReceiver implements Owner {
  readonly redirectUri: string
  /** Where the browser came back to, with what the provider says. */
  readonly back: Promise<URL>
  readonly #server: Server
  readonly #path = `/${randomBytes(9).toString('base64url')}`
  readonly #cookie = randomBytes(18).toString('base64url')
  readonly #timer: NodeJS.Timeout
  #target: URL | undefined
  #begun = false
  #waiting: ServerResponse | undefined
  #came: (url: URL) => void = () => {}
  #fail: (reason: unknown) => void = () => {}

  private constructor(server: Server, redirect: URL, msMax: number) {
    this.#server = server
    const own = new URL(redirect)
    own.port = String((server.address() as AddressInfo).port)
    this.redirectUri = own.href
    this.back = new Promise((resolve, reject) => {
      this.#came = resolve
      this.#fail = reject
    })
    // Nobody may be waiting yet.
    this.back.catch(() => {})
    const late = new RingfenceError('UNAVAILABLE', 'nobody logged in by the browser in time', {
      hint: 'ringfence login again; ringfence login --device where the browser is on another machine',
    })
    this.#timer = after(this, 'the end of waiting for a browser', msMax, () => this.#fail(late))
    server.on(
      'request',
      contained(this, 'a request of a browser', (request: IncomingMessage, response: ServerResponse) =>
        this.#onRequest(request, response),
      ),
    )
  }

  /** @param redirect as the provider knows it; where it has no port, a free one is taken. @throws RingfenceError UNAVAILABLE */
  static async listen(redirect: URL, msMax: number): Promise<CodeReceiver> {
    const server = createServer({ headersTimeout: headersMsMax, requestTimeout: headersMsMax })
    server.maxConnections = 32
    const host = redirect.hostname === '[::1]' ? '::1' : '127.0.0.1'
    await new Promise<void>((resolve, reject) => {
      const refused = (cause: Error): void => {
        const message = `cannot listen at ${host}:${redirect.port}: ${cause.message}`
        const hint = 'another port with --redirect-uri, if the provider knows it'
        reject(new RingfenceError('UNAVAILABLE', message, { cause, hint }))
      }
      server.on('error', contained({ onFault: reject }, 'a port on loopback', refused))
      server.listen(Number(redirect.port === '' ? 0 : redirect.port), host, resolve)
    })
    return new CodeReceiver(server, redirect, msMax)
  }

  /** The address that a browser is to open. */
  sendTo(target: URL): string {
    this.#target = target
    return new URL(this.#path, this.redirectUri).href
  }

  /** Says how it went to the browser that came back. */
  async answer(words: string): Promise<void> {
    const response = this.#waiting
    if (response === undefined || response.destroyed) return
    this.#waiting = undefined
    const sent = new Promise((resolve) => response.once('close', resolve))
    say(response, 200, words)
    await sent
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#server.close()
    this.#server.closeAllConnections()
  }

  onFault(reason: unknown): void {
    this.#fail(reason)
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const url = URL.parse(request.url ?? '', this.redirectUri)
    const isCallback = url?.pathname === new URL(this.redirectUri).pathname
    if (request.method !== 'GET' || url === null || (!isCallback && url.pathname !== this.#path)) {
      say(response, 404, 'Nothing is here.')
      return
    }
    const isKnown = (request.headers.cookie ?? '').split('; ').includes(`${cookieName}=${this.#cookie}`)
    if (isCallback) {
      if (!isKnown || this.#waiting !== undefined) {
        say(response, 403, 'This log-in was begun by another browser.')
        return
      }
      this.#waiting = response
      const back = new URL(this.redirectUri)
      back.search = url.search
      this.#came(back)
      return
    }
    if (this.#target === undefined || (this.#begun && !isKnown)) {
      say(response, 403, 'Another browser has begun this log-in. End it at the terminal, and begin again.')
      return
    }
    this.#begun = true
    response.setHeader('set-cookie', `${cookieName}=${this.#cookie}; Path=/; HttpOnly; SameSite=Lax`)
    response.setHeader('location', this.#target.href)
    say(response, 302, 'To the identity provider.')
  }
}

function say(response: ServerResponse, status: number, words: string): void {
  response.setHeader('content-type', 'text/plain; charset=utf-8')
  response.setHeader('cache-control', 'no-store')
  response.setHeader('referrer-policy', 'no-referrer')
  response.setHeader('x-content-type-options', 'nosniff')
  response.setHeader('connection', 'close')
  response.writeHead(status)
  response.end(`${words}\n`)
}
