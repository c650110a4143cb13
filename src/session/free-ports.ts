/**
 * Workers of one gateway share their ports (SO_REUSEPORT), and so would another program of the same user: the kernel would deal
 * connections out to both without a word. So the ports are looked at before the workers start.
 */
import { createServer } from 'node:net'
import { RingfenceError } from '../base/errors.ts'
import { socketPathOf } from './listener-config.ts'

/** @throws RingfenceError UNAVAILABLE when a port is in use or cannot be used */
export async function requireFreePorts(
  listeners: readonly { readonly address: string; readonly port?: number | undefined }[],
): Promise<void> {
  for (const { address, port } of listeners) {
    if (socketPathOf(address) !== undefined || port === undefined || port === 0) continue
    await new Promise<void>((resolve, reject) => {
      const server = createServer()
      server.once('error', (error: NodeJS.ErrnoException) => reject(faultOf(error, `${address}:${port}`)))
      server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve()))
    })
  }
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
