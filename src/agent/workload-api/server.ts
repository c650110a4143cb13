/**
 * The SPIFFE Workload API on a Unix socket: unmodified clients of SPIFFE take the agent's SVID and roots from it, and are told of each renewal.
 *
 * Rules: whoever may open the socket gets the key, for Node.js does not say who called. So the file's mode is the access control, and no other
 * transport is served. What goes wrong with one stream ends that stream.
 */
import {
  constants,
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { Code, ConnectError, createConnectRouter } from '@connectrpc/connect'
import type { UniversalHandler } from '@connectrpc/connect/protocol'
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node'
import type { Clock } from '../../base/clock.ts'
import {
  after,
  contain,
  contained,
  containOwnFault,
  nextTurn,
  nothingEnds,
  type Owner,
  settle,
} from '../../base/contained.ts'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { type Credentials, credentialsVersion } from '../../mesh/credentials.ts'
import type { Observable } from '../../mesh/observable.ts'
import { claimSocket, withMode } from '../../mesh/socket-file.ts'
import { workloadApiService } from '../../mesh/workload-api/messages.ts'
import type { Logger } from '../../telemetry/log.ts'
import { Repeated } from '../../telemetry/repeated.ts'
import { logServerErrors } from '../../telemetry/server-errors.ts'
import { bundlesOf, svidsOf } from './answers.ts'
import { follow } from './following.ts'

const place = 'the Workload API'
/** What is open at a stop has so long to hear of it. */
const stopMs = 1_000

export interface WorkloadApiOptions {
  readonly socketPath: string
  /** Of the socket's file. */
  readonly mode: number
  readonly credentials: Observable<Credentials>
  readonly clock: Clock
  readonly log: Logger
}

export interface WorkloadApi {
  /** Streams end with UNAVAILABLE, so that clients come again. */
  stop(): Promise<void>
}

/** @throws RingfenceError CONFIG where nobody can listen there */
export async function startWorkloadApi(options: WorkloadApiOptions): Promise<WorkloadApi> {
  const { socketPath, mode, log } = options
  await claimSocket(socketPath, {
    socket: 'the Workload API’s socket',
    shorter: 'choose a shorter --workload-api',
    inUse: `another process serves at ${socketPath}`,
  })
  const server = new WorkloadApiServer(options)
  await server.listen(socketPath, mode)
  log.info({ socket: socketPath, mode: mode.toString(8).padStart(4, '0') }, 'serving the Workload API')
  return server
}

class WorkloadApiServer implements WorkloadApi {
  readonly #log: Logger
  readonly #http: Http2Server
  readonly #handlers: ReadonlyMap<string, UniversalHandler>
  readonly #sessions = new Set<ServerHttp2Session>()
  readonly #stopping = new AbortController()
  readonly #dropped = new Repeated()
  #streams = 0

  constructor({ credentials, clock, log }: WorkloadApiOptions) {
    this.#log = log
    const router = createConnectRouter({
      grpcWeb: false,
      connect: false,
      acceptCompression: [],
      readMaxBytes: limits.workloadApiRequestBytesMax,
      shutdownSignal: this.#stopping.signal,
    }).service(workloadApiService, {
      fetchX509SVID: (_request, { signal }) =>
        follow(
          { credentials, clock, versionOf: credentialsVersion, messageOf: svidsOf, endsWithCertificate: true },
          signal,
        ),
      fetchX509Bundles: (_request, { signal }) =>
        follow(
          {
            credentials,
            clock,
            versionOf: ({ bundlePem }) => bundlePem,
            messageOf: bundlesOf,
            endsWithCertificate: false,
          },
          signal,
        ),
    })
    this.#handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]))
    this.#http = createServer({
      // Megabytes for all streams of a connection.
      maxSessionMemory: 1,
      settings: { maxConcurrentStreams: limits.workloadApiStreamsPerConnectionMax, maxHeaderListSize: 16_384 },
    })
    this.#http.maxConnections = limits.workloadApiConnectionsMax
    this.#http.on(
      'drop',
      contained(nothingEnds, place, () => this.#sayDropped('connections')),
    )
    this.#http.on(
      'session',
      contained(nothingEnds, place, (session: ServerHttp2Session) => {
        this.#sessions.add(session)
        session.once(
          'close',
          contained(nothingEnds, place, () => this.#sessions.delete(session)),
        )
      }),
    )
    // Its connection has ended with it.
    this.#http.on('sessionError', () => {})
    this.#http.on('request', (request: Http2ServerRequest, response: Http2ServerResponse) =>
      contain(endOf(request.stream), place, () => this.#serve(request, response)),
    )
  }

  listen(socketPath: string, mode: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (cause: Error): void =>
        reject(new RingfenceError('CONFIG', `cannot listen at ${socketPath}: ${cause.message}`, { cause }))
      this.#http.once('error', fail)
      // The file is made before the call returns.
      withMode(mode, () =>
        this.#http.listen(socketPath, () => {
          this.#http.off('error', fail)
          logServerErrors(this.#http, this.#log)
          resolve()
        }),
      )
    })
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new ConnectError('the agent is about to stop', Code.Unavailable))
    await new Promise<void>((resolve) => {
      const timer = after(nothingEnds, place, stopMs, () => {
        for (const session of this.#sessions) session.destroy()
      })
      this.#http.close(() => {
        clearTimeout(timer)
        resolve()
      })
      for (const session of this.#sessions) session.close()
    })
  }

  #serve(request: Http2ServerRequest, response: Http2ServerResponse): void {
    const { stream, headers } = request
    const handler = this.#handlers.get(headers[':path'] ?? '')
    const fault = faultOf(headers) ?? this.#refusal(handler)
    if (fault !== undefined) refuse(stream, fault)
    if (fault !== undefined || handler === undefined) return
    this.#streams++
    stream.once(
      'close',
      contained(nothingEnds, place, () => {
        this.#streams--
      }),
    )
    // Each client writes the name of a socket in its own way, and the library is to make a URL of it.
    headers[':authority'] = 'localhost'
    settle(
      endOf(stream),
      place,
      answer(handler, request, response),
      () => {},
      (reason) => {
        // The client has gone, or it is our own fault.
        containOwnFault(place, reason)
        stream.close(constants.NGHTTP2_CANCEL)
      },
    )
  }

  #refusal(handler: UniversalHandler | undefined): ConnectError | undefined {
    if (handler === undefined)
      return new ConnectError('not served here: this Workload API has X.509-SVIDs', Code.Unimplemented)
    if (this.#streams < limits.workloadApiStreamsMax) return undefined
    this.#sayDropped('streams')
    return new ConnectError('too many streams are open', Code.Unavailable)
  }

  #sayDropped(what: 'connections' | 'streams'): void {
    const repeated = this.#dropped.due(what)
    if (repeated !== undefined) this.#log.warn({ what, repeated }, 'the Workload API has as many as it takes')
  }
}

/** A fault ends the stream that it belongs to. */
function endOf(stream: ServerHttp2Stream): Owner {
  return { onFault: () => stream.close(constants.NGHTTP2_INTERNAL_ERROR) }
}

async function answer(
  handler: UniversalHandler,
  request: Http2ServerRequest,
  response: Http2ServerResponse,
): Promise<void> {
  const given = await handler(universalRequestFromNodeRequest(request, response, undefined, undefined))
  await universalResponseToNodeResponse(given, response)
}

/** Before anything of the call is read. */
function faultOf(headers: IncomingHttpHeaders): ConnectError | undefined {
  const isGrpc = /^application\/grpc(\+proto)?$/.test(headers['content-type'] ?? '') && headers[':method'] === 'POST'
  if (!isGrpc) return new ConnectError('only gRPC is served here', Code.Internal)
  // Against requests that somebody makes another program send: those have no such header.
  if (headers['workload.spiffe.io'] !== 'true')
    return new ConnectError('the header workload.spiffe.io: true is missing', Code.InvalidArgument)
  return undefined
}

/** An answer of trailers only, in words without a sign that would have to be escaped. */
function refuse(stream: ServerHttp2Stream, { code, rawMessage }: ConnectError): void {
  if (stream.destroyed || stream.headersSent) return
  const status = { 'grpc-status': String(code), 'grpc-message': rawMessage }
  stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...status }, { endStream: true })
  // What still comes is not read. A reset in this turn would go out in the place of the answer.
  nextTurn(nothingEnds, place, () => stream.close(constants.NGHTTP2_NO_ERROR))
}
