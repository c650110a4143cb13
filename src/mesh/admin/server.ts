/**
 * The admin port of a role: HTTP on loopback or a Unix socket, for whoever runs the machine, for probes and for Prometheus.
 *
 * The rule one must not break: it is reached from this machine only, and by no page of a browser on it. It shows no key and no token. What it
 * does takes a POST.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurnOf } from 'node:timers/promises'
import { contained, nothingEnds, settle } from '../../base/contained.ts'
import { RingfenceError } from '../../base/errors.ts'
import type { Logger } from '../../telemetry/log.ts'
import { logServerErrors } from '../../telemetry/server-errors.ts'
import { createServer } from '../http.ts'
import { claimSocket, withMode } from '../socket-file.ts'
import type { AdminAddress } from './address.ts'

export interface AdminAnswer {
  readonly status: number
  readonly type: string
  /** Pieces are written one in a turn. */
  readonly body: string | Iterable<string> | AsyncIterable<string>
}

export interface AdminPage {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** One line, for `/`. */
  readonly help: string
  answer(request: AdminRequest): AdminAnswer | Promise<AdminAnswer>
}

export interface AdminRequest {
  readonly accept: string | undefined
  readonly query: URLSearchParams
  /** It came by the Unix socket, which its owner alone may open. */
  readonly bySocket: boolean
  /** Whoever asked hears nothing any more: all is told, or it has left. */
  readonly gone: AbortSignal
}

export interface AdminServer {
  /** `http://127.0.0.1:9465`, or the path. */
  readonly where: string
  /** Other pages from now on. */
  show(pages: readonly AdminPage[]): void
  stop(): Promise<void>
}

const connectionsMax = 32
const requestMsMax = 10_000

export function json(value: unknown, status = 200): AdminAnswer {
  return { status, type: 'application/json; charset=utf-8', body: `${JSON.stringify(value, null, 2)}\n` }
}

export function plain(text: string, status = 200): AdminAnswer {
  return { status, type: 'text/plain; charset=utf-8', body: text.endsWith('\n') ? text : `${text}\n` }
}

/** @throws RingfenceError CONFIG or UNAVAILABLE where it cannot listen there */
export async function startAdminServer(
  address: AdminAddress,
  pages: readonly AdminPage[],
  log: Logger,
): Promise<AdminServer> {
  const bySocket = 'path' in address
  let shown = pages
  const server = createServer({ requestTimeout: requestMsMax, headersTimeout: requestMsMax, maxHeaderSize: 8_192 })
  server.maxConnections = connectionsMax
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    const owner = { onFault: () => response.destroy() }
    settle(owner, 'a request at the admin port', answer(shown, bySocket, request, response), () => {})
  }
  server.on('request', contained(nothingEnds, 'a request at the admin port', serve))
  logServerErrors(server, log)
  if (bySocket) {
    await claimSocket(address.path, {
      socket: 'the admin socket',
      shorter: 'choose a shorter path for it',
      inUse: `another process listens at ${address.path}`,
    })
  }
  await new Promise<void>((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => reject(cannotListen(address, error))
    server.once('error', fail)
    const listening = (): void => {
      server.off('error', fail)
      resolve()
    }
    if (bySocket) withMode(0o600, () => server.listen({ path: address.path }, listening))
    else server.listen({ host: address.host, port: address.port, exclusive: true }, listening)
  })
  const where = bySocket ? address.path : urlOf(server.address() as AddressInfo)
  log.info({ where }, 'admin port is open')
  return {
    where,
    show(others) {
      shown = others
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(
  pages: readonly AdminPage[],
  bySocket: boolean,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // Nothing is read of a body.
  request.resume()
  const url = URL.parse(request.url ?? '/', 'http://admin')
  const left = new AbortController()
  response.on(
    'close',
    contained(nothingEnds, 'the end of an admin answer', () => left.abort()),
  )
  const caller = { bySocket, gone: left.signal }
  const refused = refusalOf(request, bySocket)
  const { status, type, body } =
    refused ?? (url === null ? plain('no such page', 404) : await answerOf(pages, caller, request, url))
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
  if (typeof body === 'string') {
    response.end(body)
    return
  }
  for await (const piece of body) {
    if (response.destroyed) return
    // Who reads slowly is waited for: nothing piles up.
    if (!response.write(piece)) await roomIn(response)
    // Clients are served in the same loop.
    await nextTurnOf()
  }
  response.end()
}

/** Resolves when more can be written, or nothing more. */
function roomIn(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
}

/** A page of a browser can call a port of its own machine, by a name that leads there too; so can no proxy that adds such a header by mistake. */
function refusalOf({ headers }: IncomingMessage, bySocket: boolean): AdminAnswer | undefined {
  if (bySocket) return undefined
  const fromPage = headers.origin !== undefined || headers['sec-fetch-site'] !== undefined
  const here = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i.test(headers.host ?? '')
  return fromPage || !here ? plain('this port is for the machine itself', 403) : undefined
}

async function answerOf(
  pages: readonly AdminPage[],
  caller: Pick<AdminRequest, 'bySocket' | 'gone'>,
  { method = 'GET', headers }: IncomingMessage,
  { pathname, searchParams }: URL,
): Promise<AdminAnswer> {
  if (pathname === '/') return plain(pages.map((page) => `${page.method} ${page.path}  ${page.help}`).join('\n'))
  const there = pages.filter(({ path }) => path === pathname)
  const page = there.find((each) => each.method === method)
  if (page !== undefined) return page.answer({ accept: headers.accept, query: searchParams, ...caller })
  const [other] = there
  return other === undefined ? plain('no such page; / lists them', 404) : plain(`this takes a ${other.method}`, 405)
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

function cannotListen(address: AdminAddress, cause: NodeJS.ErrnoException): RingfenceError {
  const where = 'path' in address ? address.path : `${address.host}:${address.port}`
  return new RingfenceError('UNAVAILABLE', `the admin port cannot listen at ${where}: ${cause.message}`, {
    cause,
    hint: 'choose another address under admin.listen (--admin of the control plane)',
  })
}
