/** The route table for the command line: HTTP over a Unix socket of mode 0600, so that who may open the file may administer. */
import { existsSync, lstatSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { fastify } from 'fastify'
import type { Clock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import type { Logger } from '../telemetry/log.ts'
import { logServerErrors } from '../telemetry/server-errors.ts'
import { serveRoutes } from './http.ts'
import type { Route } from './route.ts'

/** `sun_path` has 108 bytes with its closing zero on Linux. */
const socketPathBytesMax = 107

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
  await claimSocket(socketPath)
  const before = process.umask(0o177)
  try {
    await server.listen({ path: socketPath })
    logServerErrors(server.server, log)
  } finally {
    process.umask(before)
  }
  return { stop: () => server.close() }
}

/** Removes a socket that a killed control plane left; a live one is left alone. */
async function claimSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > socketPathBytesMax) {
    throw new RingfenceError('CONFIG', `path of the admin socket is longer than ${socketPathBytesMax} bytes`, {
      hint: 'choose a shorter --state-dir',
    })
  }
  if (!existsSync(path)) return
  if (!lstatSync(path).isSocket()) throw new RingfenceError('CONFIG', `${path} is in the way and no socket`)
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.on('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.on('error', () => resolve(false))
  })
  if (alive) throw new RingfenceError('CONFIG', 'another control plane is running in this state folder')
  rmSync(path, { force: true })
}
