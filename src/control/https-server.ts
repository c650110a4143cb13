/**
 * The route table for proxies and workloads: HTTPS, TLS 1.3 only, no session tickets. Whoever calls is who the DER of its client
 * certificate says, never what a header says.
 */
import { constants, X509Certificate } from 'node:crypto'
import type { Server } from 'node:https'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type FastifyInstance, type FastifyRequest, fastify } from 'fastify'
import type { Clock } from '../base/clock.ts'
import { contained, nothingEnds } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { type VerifiedPeer, verifyPeer } from '../identity/certificate.ts'
import { factsOfPeer, type Revocations } from '../identity/revoked/revocations.ts'
import type { Logger } from '../telemetry/log.ts'
import { Repeated } from '../telemetry/repeated.ts'
import { logServerErrors } from '../telemetry/server-errors.ts'
import { Admission } from './admission.ts'
import { type Caller, certificateNeeded, thrownOut } from './callers.ts'
import { type OpenStreams, serveRoutes } from './http.ts'
import type { Route } from './route.ts'
import { UnprovenConnections } from './unproven-connections.ts'

/** A request with a token or a signing request, as JSON. */
const bodyBytesMax = 64 * 1024
/** A request must have come whole by then. */
const requestMsMax = 10_000
const headBytesMax = 8 * 1024

export interface ServerIdentity {
  readonly keyPem: string
  /** Leaf, issuing certificate, root: the root too, so that an enroller can compare it with its token's fingerprint. */
  readonly certificatePem: string
  readonly bundlePem: string
  readonly notAfterMs: number
}

export interface HttpsServer {
  readonly port: number
  replaceIdentity(identity: ServerIdentity): void
  /** Ends what is open of those who are thrown out. */
  endRevoked(): void
  stop(): Promise<void>
}

export interface HttpsOptions {
  readonly address: string
  readonly port: number
  readonly identity: ServerIdentity
  readonly trustDomain: string
  readonly revocations: Revocations
  /** Of the authority that signed a certificate: whether it counts still. */
  readonly isSigner: (authority: string | undefined) => boolean
  readonly clock: Clock
  readonly log: Logger
}

/** Takes connections; the routes are there once `serve` was called. */
export async function startHttpsServer(options: HttpsOptions, routes: readonly Route[]): Promise<HttpsServer> {
  const { clock, log, trustDomain, revocations, isSigner } = options
  const server = fastify({
    https: {
      ...contextOf(options.identity),
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: limits.handshakeTimeoutMs,
      // Head and body must be there by then, however slowly they are sent; a stream is an answer.
      headersTimeout: requestMsMax,
      maxHeaderSize: headBytesMax,
      connectionsCheckingInterval: 1_000,
    },
    bodyLimit: bodyBytesMax,
    forceCloseConnections: true,
    logger: false,
    requestTimeout: requestMsMax,
  })
  const https = server.server as unknown as Server
  let { notAfterMs } = options.identity
  const repeated = new Repeated(clock)
  // Before the listener that begins TLS: nobody is shown a certificate that is over.
  https.prependListener(
    'connection',
    contained(nothingEnds, 'a connection that comes', (raw: Socket) => {
      if (clock.now() < notAfterMs) return
      raw.destroy()
      const text = 'own certificate has expired: no connection is taken until it is renewed'
      if (repeated.due(text) !== undefined) log.error({ notAfterMs }, text)
    }),
  )
  const admission = new Admission(clock)
  const unproven = new UnprovenConnections(https, admission, log)

  /** Certificates that were issued to whoever is at the other end of a connection, where it was opened with an older one. */
  const renewed = new WeakMap<TLSSocket, Buffer>()
  /** Whoever was let in by a connection that is open: by its certificate, and by one that it was issued since. */
  const members = new Map<TLSSocket, readonly VerifiedPeer[]>()
  const peersOf = (socket: TLSSocket, der: Buffer): readonly [VerifiedPeer, ...VerifiedPeer[]] => {
    const later = renewed.get(socket)
    const own = (): VerifiedPeer => verifyPeer(der, clock.now(), trustDomain)
    if (later === undefined) return [own()]
    const [before] = members.get(socket) ?? []
    const now = verifyPeer(later, clock.now(), trustDomain)
    return before === undefined ? [now] : [now, before]
  }
  const isRevoked = (peer: VerifiedPeer) => revocations.find(factsOfPeer(peer), clock.now())
  /** Thrown out, or over: by such a connection nobody is served any more. */
  const endsNow = (socket: TLSSocket, peers: readonly VerifiedPeer[]): boolean => {
    const last = renewed.get(socket)
    try {
      const all = last === undefined ? peers : [...peers, verifyPeer(last, clock.now(), trustDomain)]
      return all.some((peer) => isRevoked(peer) !== undefined || !isSigner(peer.certificate.authority))
    } catch {
      return true
    }
  }
  const callerOf = (request: FastifyRequest): Caller => {
    const socket = request.raw.socket as TLSSocket
    const certificate = socket.getPeerX509Certificate()
    if (!socket.authorized || certificate === undefined) return { kind: 'stranger', address: socket.remoteAddress }
    const peers = peersOf(socket, certificate.raw)
    for (const peer of peers) {
      const by = isRevoked(peer)
      if (by !== undefined) throw thrownOut(peer, by)
      if (!isSigner(peer.certificate.authority))
        throw new RingfenceError('IDENTITY', `${peer.spiffeId}: the root of its certificate is trusted no more`)
    }
    if (!members.has(socket)) {
      socket.once(
        'close',
        contained(nothingEnds, 'the end of a member', () => members.delete(socket)),
      )
      members.set(socket, peers)
    }
    return {
      kind: 'member',
      peer: peers[0],
      address: socket.remoteAddress,
      renewed: (certificatePem) => renewed.set(socket, new X509Certificate(certificatePem).raw),
    }
  }
  // Before every route, and where there is none: what costs an address its budget, and what a stranger learns nothing from.
  server.addHook('onRequest', async (request) => {
    const { socket } = request.raw
    if (unproven.isRefused(socket)) throw new RingfenceError('IDENTITY', 'client certificate is not of this mesh')
    if (unproven.isProven(socket)) return
    if (!admission.mayAsk(socket.remoteAddress)) {
      throw new RingfenceError('OVERLOADED', 'too many requests without a certificate from this address', {
        hint: 'try again in a second',
      })
    }
    if (request.is404 && !(socket as TLSSocket).authorized) throw certificateNeeded()
  })
  const streams: OpenStreams = new WeakMap()
  serveRoutes(server as unknown as FastifyInstance, routes, callerOf, clock, log, streams)

  await server.listen({ host: options.address, port: options.port })
  logServerErrors(https, log)
  const address = https.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    replaceIdentity: (identity) => {
      https.setSecureContext(contextOf(identity))
      notAfterMs = identity.notAfterMs
    },
    endRevoked: () => {
      for (const [socket, peers] of members) {
        if (!endsNow(socket, peers)) continue
        // Who is thrown out hears that last, and nothing that is told from now on, such as the keys that take the place of those it knew.
        const endStream = streams.get(socket)
        if (endStream === undefined) socket.destroy()
        else endStream()
      }
    },
    stop: () => server.close(),
  }
}

function contextOf({ keyPem, certificatePem, bundlePem }: ServerIdentity) {
  return {
    key: keyPem,
    cert: certificatePem,
    ca: bundlePem,
    minVersion: 'TLSv1.3',
    // Node resumes a session of an expired client certificate otherwise (tls-facts.test.ts).
    secureOptions: constants.SSL_OP_NO_TICKET,
  } as const
}
