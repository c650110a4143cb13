/**
 * The end of a connection whose client has not heard yet that it is READY. Some drivers (that of Node.js) do not notice a plain end after TLS: they
 * wait until their STARTUP times out, 12 s and more. A reset all of them notice at once.
 */
import type { Socket } from 'node:net'
import type { Owner } from '../base/contained.ts'

/** @param raw the TCP socket, below TLS */
export function reset(raw: Socket): void {
  // A Unix socket has no reset.
  if (raw.remoteAddress === undefined) raw.destroy()
  else raw.resetAndDestroy()
}

/** A fault in what is done for the socket ends the socket. */
export function endsSocket(socket: Socket): Owner {
  return { onFault: () => socket.destroy() }
}
