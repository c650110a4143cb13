/** The route table over HTTP: bodies and queries in, JSON or lines out, faults as `{error: {code, message, hint}}`. */
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Clock } from '../base/clock.ts'
import { after, contained, every, nothingEnds, type Owner } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { aliveIntervalMs, aliveLine, watchLineBytesMax } from '../mesh/watch.ts'
import type { Logger } from '../telemetry/log.ts'
import type { Caller } from './callers.ts'
import { readForm } from './forms.ts'
import { oauthAnswer } from './oauth.ts'
import type { Admitted, Route } from './route.ts'

const statusOf: Partial<Record<RingfenceError['code'], number>> = {
  USAGE: 400,
  CONFIG: 422,
  IDENTITY: 403,
  UNAUTHORIZED: 403,
  OVERLOADED: 429,
  TOO_LARGE: 413,
  UNAVAILABLE: 503,
}
/** RFC 6749 §5.1. */
const notKept = { 'cache-control': 'no-store', pragma: 'no-cache' }
/** A reader that does not read its stream is cut off once this much waits for it: more than all that it is told at first. */
const backlogBytesMax = 4 * watchLineBytesMax

/** What was told of a stream that ends is waited for so long. */
const lastLinesMsMax = 1_000

/** Streams that are open, by their connection: each is told nothing more when it is called, and its connection ends behind what was told. */
export type OpenStreams = WeakMap<Socket, () => void>

/** @param callerOf who sent a request; throws `IDENTITY` where that is nobody who may ask anything */
export function serveRoutes(
  server: FastifyInstance,
  routes: readonly Route[],
  callerOf: (request: FastifyRequest) => Caller,
  clock: Clock,
  log: Logger,
  streams: OpenStreams = new WeakMap(),
): void {
  answerErrors(server, log)
  const admitted = new WeakMap<FastifyRequest, Admitted>()
  for (const route of routes.filter(({ isOauth }) => isOauth !== true)) add(server, route)
  // Forms are read here only: a browser sends one to any address, from whatever page.
  const forms = routes.filter(({ isOauth }) => isOauth === true)
  server.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string' },
      async (_: unknown, text: string) => readForm(text),
    )
    answerOauthErrors(scope, log)
    for (const route of forms) add(scope, route)
  })

  function add(scope: FastifyInstance, route: Route): void {
    const { method, path: url, bodyBytesMax, isOauth } = route
    scope.route({
      method,
      url,
      ...(bodyBytesMax === undefined ? {} : { bodyLimit: bodyBytesMax }),
      // Before the body is read: who may not ask costs no more than the head of its request.
      onRequest: async (request) => void admitted.set(request, route.admit(callerOf(request))),
      handler: async (request, reply) => {
        const one = admitted.get(request)
        if (one === undefined) throw new Error('a request was not looked at')
        if (one.kind === 'stream') return sendLines(reply, one, { clock, log, streams })
        if (isOauth === true) reply.headers(notKept)
        const answer = await one.answer(method === 'GET' ? request.query : request.body)
        return answer === undefined ? reply.code(204).send() : answer
      },
    })
  }
}

/** NDJSON without an end, with a sign of life where nothing is told. */
function sendLines(
  reply: FastifyReply,
  { open, notAfterMs }: Extract<Admitted, { kind: 'stream' }>,
  { clock, log, streams }: { readonly clock: Clock; readonly log: Logger; readonly streams: OpenStreams },
): void {
  reply.hijack()
  const { raw } = reply
  raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
  const send = (line: string): void => {
    if (raw.writableLength > backlogBytesMax) {
      log.warn({ peer: raw.socket?.remoteAddress }, 'watch stream is not read; closed')
      raw.destroy()
      return
    }
    raw.write(line)
  }
  const close = open(send)
  const owner: Owner = { onFault: () => raw.destroy() }
  const alive = every(owner, 'a sign of life', aliveIntervalMs, () => {
    if (clock.now() > notAfterMs) raw.destroy()
    else send(aliveLine(clock.now()))
  })
  const closed = (): void => {
    clearInterval(alive)
    close()
  }
  raw.on('close', contained(nothingEnds, 'the end of a stream', closed))
  const { socket } = raw
  if (socket === null) return
  streams.set(socket, () => {
    if (raw.writableEnded) return
    closed()
    raw.end(contained(nothingEnds, 'the last lines of a stream', () => socket.destroySoon()))
    // Who does not read them is cut off.
    const timer = after(nothingEnds, 'the end of a stream', lastLinesMsMax, () => socket.destroy())
    timer.unref()
  })
}

function answerOauthErrors(server: FastifyInstance, log: Logger): void {
  server.setErrorHandler((reason, request, reply) => {
    const answer = oauthAnswer(reason)
    if (answer === undefined) {
      log.error({ err: reason, route: request.routeOptions.url }, 'request failed')
      return reply.code(500).send({ error: 'temporarily_unavailable', error_description: 'its log says why' })
    }
    const { status, body } = answer
    log.info({ status, route: request.routeOptions.url, reason: body.error_description }, 'request refused')
    if (status === 429) reply.header('retry-after', '1')
    return reply.code(status).headers(notKept).send(body)
  })
}

function answerErrors(server: FastifyInstance, log: Logger): void {
  server.setErrorHandler((reason, request, reply) => {
    if (reason instanceof RingfenceError) {
      log.info({ code: reason.code, route: request.routeOptions.url, reason: reason.message }, 'request refused')
      const { code, message, hint } = reason
      return reply.code(statusOf[code] ?? 500).send({ error: { code, message, hint } })
    }
    const status = reason instanceof Error && 'statusCode' in reason ? Number(reason.statusCode) : 500
    if (status < 500) return reply.code(status).send({ error: { code: 'USAGE', message: (reason as Error).message } })
    log.error({ err: reason, route: request.routeOptions.url }, 'request failed')
    return reply
      .code(500)
      .send({ error: { code: 'UNAVAILABLE', message: 'the control plane failed; its log says why' } })
  })
  server.setNotFoundHandler((_request, reply) =>
    reply.code(404).send({ error: { code: 'USAGE', message: 'no such route' } }),
  )
}
