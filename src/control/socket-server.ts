/** The route table for the command line: HTTP over a Unix socket of mode 0600, so that who may open the file may administer. */
import { fastify } from 'fastify'
import type { Clock } from '../base/clock.ts'
import { claimSocket } from '../mesh/socket-file.ts'
import type { Logger } from '../telemetry/log.ts'
import { logServerErrors } from '../telemetry/server-errors.ts'
import { serveRoutes } from './http.ts'
import type { Route } from './route.ts'

export interface SocketOptions {
  readonly socketPath: string
  readonly clock: Clock
  readonly log: Logger
}

export async function startSocketServer(
  { socketPath, clock, log }: SocketOptions,
  routes: readonly Route[],
): Promise<{ stop(): Promise<void> }> {
  const server = fastify({ forceCloseConnections: true, logger: false })
  serveRoutes(server, routes, () => ({ kind: 'administrator' }), clock, log)
  await claimSocket(socketPath, {
    socket: 'the admin socket',
    shorter: 'choose a shorter --state-dir',
    inUse: 'another control plane is running in this state folder',
  })
  const before = process.umask(0o177)
  try {
    await server.listen({ path: socketPath })
    logServerErrors(server.server, log)
  } finally {
    process.umask(before)
  }
  return { stop: () => server.close() }
}
