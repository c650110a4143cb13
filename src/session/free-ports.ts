/**
 * Workers of one gateway share their ports (SO_REUSEPORT), and so would another program of the same user: the kernel would deal
 * connections out to both without a word. So the ports are looked at before the workers start. A Unix socket is the same: whoever binds
 * its path last has its clients, so it is asked first whether somebody listens there. One that nobody listens at was left behind.
 */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { RingfenceError } from '../base/errors.ts'
import { socketPathOf } from './listener-config.ts'

/** @throws RingfenceError UNAVAILABLE when a port or a socket is in use or cannot be used */
export async function requireFreePorts(
  listeners: readonly { readonly address: string; readonly port?: number | undefined }[],
): Promise<void> {
  for (const { address, port } of listeners) {
    const path = socketPathOf(address)
    if (path !== undefined) await requireUnusedSocket(path)
    if (path !== undefined || port === undefined || port === 0) continue
    await new Promise<void>((resolve, reject) => {
      const server = createServer()
      server.once('error', (error: NodeJS.ErrnoException) => reject(faultOf(error, `${address}:${port}`)))
      server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve()))
    })
  }
}

/** Nothing at the path, or nobody who listens there: the listener takes its place. */
const unused: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ECONNREFUSED', 'ENOTSOCK'])

async function requireUnusedSocket(path: string): Promise<void> {
  const probe = connect(path)
  try {
    await once(probe, 'connect')
  } catch (reason) {
    const error = reason as NodeJS.ErrnoException
    if (unused.has(error.code)) return
    throw new RingfenceError('UNAVAILABLE', `the socket ${path} cannot be looked at: ${error.message}`, {
      cause: error,
      hint: error.code === 'EACCES' ? 'it is another user’s: choose another path' : 'choose another path',
    })
  } finally {
    probe.destroy()
  }
  throw new RingfenceError('UNAVAILABLE', `another process listens at the socket ${path}`, {
    hint: `ss -lxp 'src = unix:${path}' shows which; stop it, or choose another path`,
  })
}

function faultOf(error: NodeJS.ErrnoException, where: string): RingfenceError {
  if (error.code === 'EADDRINUSE') {
    return new RingfenceError('UNAVAILABLE', `another process listens at ${where}`, {
      cause: error,
      hint: `ss -ltnp 'sport = :${where.slice(where.lastIndexOf(':') + 1)}' shows which; stop it, or choose another port`,
    })
  }
  const hint =
    error.code === 'EADDRNOTAVAIL'
      ? 'the address is none of this host'
      : error.code === 'EACCES'
        ? 'ports below 1024 need a privilege'
        : 'choose another address or port'
  return new RingfenceError('UNAVAILABLE', `cannot listen at ${where}: ${error.message}`, { cause: error, hint })
}
