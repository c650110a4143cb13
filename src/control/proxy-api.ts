/**
 * The API that proxies and workloads speak: HTTPS, TLS 1.3 only, no session tickets. Whoever calls is who the DER of its client
 * certificate says, never what a header says; only `enrol` is open to those who have no certificate yet.
 */
import { constants } from 'node:crypto'
import type { Server } from 'node:https'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type FastifyRequest, fastify } from 'fastify'
import type { Clock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { type VerifiedPeer, verifyPeer } from '../identity/certificate.ts'
import { enrolRequest, renewRequest } from '../mesh/enrolment.ts'
import { reportBytesMax } from '../mesh/proxy-report.ts'
import { readReport } from '../mesh/report.ts'
import { aliveIntervalMs, aliveLine, watchLineBytesMax } from '../mesh/watch.ts'
import type { Logger } from '../telemetry/log.ts'
import { Admission } from './admission.ts'
import type { Enrolment } from './enrolment.ts'
import { answerErrors, parseBody } from './http.ts'
import type { Publisher } from './publisher.ts'
import type { Registry } from './registry.ts'
import type { AgentRow, Store } from './store.ts'

/** A request with a token or a signing request, as JSON. */
const bodyBytesMax = 64 * 1024
const enrolPath = '/v1/enrol'
/** A request must have come whole by then. */
const requestMsMax = 10_000
const headBytesMax = 8 * 1024
/** A connection that shows no certificate of the mesh is for one enrolment, and is over by then. */
const unprovenMsMax = 30_000
/** A proxy that does not read its stream is cut off once this much waits for it: more than all that it is told at first. */
const watchBacklogBytesMax = 4 * watchLineBytesMax

export interface ServerIdentity {
  readonly keyPem: string
  /** Leaf, issuing certificate, root: the root too, so that an enroller can compare it with its token's fingerprint. */
  readonly certificatePem: string
  readonly bundlePem: string
}

export interface ProxyApi {
  readonly port: number
  replaceIdentity(identity: ServerIdentity): void
  stop(): Promise<void>
}

export interface ProxyApiParts {
  readonly address: string
  readonly port: number
  readonly identity: ServerIdentity
  readonly trustDomain: string
  readonly enrolment: Enrolment
  readonly registry: Registry
  readonly publisher: Publisher
  readonly store: Store
  readonly clock: Clock
  readonly log: Logger
}

export async function startProxyApi(parts: ProxyApiParts): Promise<ProxyApi> {
  const { enrolment, registry, publisher, store, clock, log, trustDomain } = parts
  const tls = {
    ...contextOf(parts.identity),
    requestCert: true,
    rejectUnauthorized: false,
    handshakeTimeout: limits.handshakeTimeoutMs,
    // Head and body must be there by then, however slowly they are sent; the watch stream is an answer.
    headersTimeout: requestMsMax,
    maxHeaderSize: headBytesMax,
    connectionsCheckingInterval: 1_000,
  }
  const server = fastify({
    https: tls,
    bodyLimit: bodyBytesMax,
    forceCloseConnections: true,
    logger: false,
    requestTimeout: requestMsMax,
  })
  answerErrors(server, log)
  const https = server.server as unknown as Server
  const admission = new Admission(clock)
  /** When each connection that has proved nothing is closed. */
  const unproven = new Map<string, NodeJS.Timeout>()
  const forget = (id: string): void => {
    clearTimeout(unproven.get(id))
    unproven.delete(id)
  }
  const handshake = https.listeners('connection')
  https.removeAllListeners('connection')
  https.on('connection', (socket: Socket) => {
    const id = connectionId(socket)
    if (!admission.connected(id, socket.remoteAddress, () => socket.destroy())) {
      socket.destroy()
      return
    }
    unproven.set(
      id,
      setTimeout(() => socket.destroy(), unprovenMsMax),
    )
    socket.once('close', () => {
      admission.left(id)
      forget(id)
    })
    for (const begin of handshake) begin.call(https, socket)
  })
  const refused = new WeakSet<object>()
  https.prependListener('secureConnection', (socket: TLSSocket) => {
    // A certificate that does not verify is worse than none: its holder does not get as far as enrol.
    if (!socket.authorized && socket.getPeerX509Certificate() !== undefined) {
      log.warn({ peer: socket.remoteAddress, reason: String(socket.authorizationError) }, 'client certificate refused')
      refused.add(socket)
      socket.destroy()
    } else if (socket.authorized) {
      admission.proven(connectionId(socket), socket.remoteAddress)
      forget(connectionId(socket))
    }
  })
  https.on('tlsClientError', (error: Error, socket: TLSSocket) => {
    log.debug({ peer: socket.remoteAddress, reason: error.message }, 'handshake failed')
  })

  const callerOf = (request: FastifyRequest): VerifiedPeer => {
    const socket = request.raw.socket as TLSSocket
    const certificate = socket.getPeerX509Certificate()
    if (!socket.authorized || certificate === undefined) {
      throw new RingfenceError('IDENTITY', 'a client certificate of this mesh is needed')
    }
    return verifyPeer(certificate.raw, clock.now(), trustDomain)
  }
  // Every route but one is closed, unread, to those who have no certificate; that one costs each address no more than its budget.
  server.addHook('onRequest', async (request) => {
    const { socket } = request.raw
    // A request that came in one packet with the end of the handshake is still parsed after destroy().
    if (refused.has(socket)) throw new RingfenceError('IDENTITY', 'client certificate is not of this mesh')
    if ((socket as TLSSocket).authorized) return
    if (!admission.mayAsk(socket.remoteAddress)) {
      throw new RingfenceError('OVERLOADED', 'too many requests without a certificate from this address', {
        hint: 'try again in a second',
      })
    }
    if (request.routeOptions.url !== enrolPath) callerOf(request)
  })
  const proxyOf = (caller: VerifiedPeer): AgentRow => {
    const agent = store.agent(caller.spiffeId)
    if (agent === undefined || (agent.role !== 'gateway' && agent.role !== 'sidecar')) {
      throw new RingfenceError('IDENTITY', `${caller.spiffeId} is not an enrolled proxy`)
    }
    return agent
  }

  server.post(enrolPath, async (request) => {
    const body = parseBody(enrolRequest, request.body)
    const issued = await enrolment.enrol(body)
    log.info({ spiffeId: issued.spiffeId, role: body.role, name: body.name }, 'enrolled')
    return issued
  })

  server.post('/v1/renew', async (request) => {
    const caller = callerOf(request)
    const issued = await enrolment.renew(caller, parseBody(renewRequest, request.body).csrPem)
    log.debug({ spiffeId: caller.spiffeId }, 'renewed')
    return issued
  })

  // Whoever reports is there, so that is noted before the report is read, and whether or not it can be.
  const noteAlive = async (request: FastifyRequest): Promise<void> => {
    const caller = callerOf(request)
    registry.heard(proxyOf(caller), caller.notAfterMs)
  }
  server.post('/v1/report', { bodyLimit: reportBytesMax, onRequest: noteAlive }, async (request, reply) => {
    const caller = callerOf(request)
    const agent = proxyOf(caller)
    const { report, dropped } = readReport(request.body)
    if (report.endpoint !== undefined && (agent.role !== 'sidecar' || report.endpoint.spiffeId !== caller.spiffeId)) {
      throw new RingfenceError('IDENTITY', `${caller.spiffeId} may not report an endpoint of another`)
    }
    if (report.advertise !== undefined && agent.role !== 'gateway') {
      throw new RingfenceError('IDENTITY', `${caller.spiffeId} is no gateway and advertises nothing`)
    }
    registry.takeReport(agent, caller.notAfterMs, report, dropped)
    if (dropped.length === 0) return reply.code(204).send()
    log.warn({ spiffeId: caller.spiffeId, dropped }, 'part of a report is not understood')
    return { dropped }
  })

  server.get('/v1/watch', (request, reply) => {
    const caller = callerOf(request)
    const { role } = proxyOf(caller)
    reply.hijack()
    const { raw } = reply
    raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
    const tell = (line: string): void => {
      if (raw.writableLength > watchBacklogBytesMax) {
        log.warn({ spiffeId: caller.spiffeId }, 'watch stream is not read; closed')
        raw.destroy()
        return
      }
      raw.write(line)
    }
    const unwatch = publisher.watch(tell, role)
    const alive = setInterval(() => {
      // The stream lives no longer than the certificate that opened it.
      if (clock.now() > caller.notAfterMs) raw.destroy()
      else tell(aliveLine(clock.now()))
    }, aliveIntervalMs)
    raw.on('close', () => {
      clearInterval(alive)
      unwatch()
    })
  })

  await server.listen({ host: parts.address, port: parts.port })
  const address = https.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : parts.port,
    replaceIdentity: (identity) => https.setSecureContext(contextOf(identity)),
    stop: () => server.close(),
  }
}

/** Of a TCP connection and of the TLS connection on it. */
function connectionId({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

function contextOf({ keyPem, certificatePem, bundlePem }: ServerIdentity) {
  return {
    key: keyPem,
    cert: certificatePem,
    ca: bundlePem,
    minVersion: 'TLSv1.3',
    // Node resumes a session of an expired client certificate otherwise (attack D5).
    secureOptions: constants.SSL_OP_NO_TICKET,
  } as const
}
