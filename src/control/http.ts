/** What the proxy API and the admin API share: bodies checked by schema, errors as `{error: {code, message, hint}}`. */
import type { FastifyInstance } from 'fastify'
import type { z } from 'zod'
import { RingfenceError } from '../base/errors.ts'
import type { Logger } from '../telemetry/log.ts'

const statusOf: Partial<Record<RingfenceError['code'], number>> = {
  USAGE: 400,
  CONFIG: 422,
  IDENTITY: 403,
  UNAUTHORIZED: 403,
  OVERLOADED: 429,
  TOO_LARGE: 413,
  UNAVAILABLE: 503,
}

/** @throws RingfenceError USAGE naming the first field that does not fit */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  throw new RingfenceError(
    'USAGE',
    `request is not understood: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.trim(),
  )
}

export function answerErrors(server: FastifyInstance, log: Logger): void {
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
