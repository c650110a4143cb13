/** Connections to the HTTPS server before they show a certificate of the mesh: how many there may be, and for how long. */
import type { Server } from 'node:https'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { after, contain, contained, nothingEnds, type Owner } from '../base/contained.ts'
import { readLeaf } from '../identity/certificate.ts'
import type { Logger } from '../telemetry/log.ts'
import type { Admission } from './admission.ts'

/** A connection that shows no certificate of the mesh is for one enrolment, and is over by then. */
const unprovenMsMax = 30_000

export class UnprovenConnections {
  readonly #admission: Admission
  readonly #log: Logger
  /** When each is closed. */
  readonly #ends = new Map<string, NodeJS.Timeout>()
  readonly #refused = new WeakSet<object>()
  readonly #proven = new WeakSet<object>()

  constructor(server: Server, admission: Admission, log: Logger) {
    this.#admission = admission
    this.#log = log
    const handshake = server.listeners('connection')
    server.removeAllListeners('connection')
    const connected = (socket: Socket): void => {
      contain(endOf(socket), 'a new connection', () => {
        if (this.#took(socket)) for (const begin of handshake) begin.call(server, socket)
      })
    }
    const secured = (socket: TLSSocket): void => contain(endOf(socket), 'a handshake', () => this.#secured(socket))
    const failed = (error: Error, socket: TLSSocket): void =>
      log.debug({ peer: socket.remoteAddress, reason: error.message }, 'handshake failed')
    server.prependListener('connection', connected)
    server.prependListener('secureConnection', secured)
    server.on('tlsClientError', contained(nothingEnds, 'a handshake that failed', failed))
  }

  /** It showed a certificate that is not of the mesh. What it sent with the end of the handshake is still parsed after destroy(). */
  isRefused(socket: Socket): boolean {
    return this.#refused.has(socket)
  }

  /** It showed a certificate of the mesh, by which it is here for more than one request. Who got one for a token counts as a stranger, who may be many. */
  isProven(socket: Socket): boolean {
    return this.#proven.has(socket)
  }

  /** False where it is not to cost a handshake. */
  #took(socket: Socket): boolean {
    const id = connectionId(socket)
    if (!this.#admission.connected(id, socket.remoteAddress, () => socket.destroy())) {
      socket.destroy()
      return false
    }
    this.#ends.set(
      id,
      after(nothingEnds, 'the end of an unproven connection', unprovenMsMax, () => socket.destroy()),
    )
    const closed = (): void => {
      this.#admission.left(id)
      this.#forget(id)
    }
    socket.once('close', contained(nothingEnds, 'the close of a connection', closed))
    return true
  }

  #secured(socket: TLSSocket): void {
    // A certificate that does not verify is worse than none: its holder does not get as far as enrol.
    if (!socket.authorized && socket.getPeerX509Certificate() !== undefined) {
      const reason = String(socket.authorizationError)
      this.#log.warn({ peer: socket.remoteAddress, reason }, 'client certificate refused')
      this.#refused.add(socket)
      socket.destroy()
    } else if (socket.authorized && !isExchanged(socket)) {
      this.#proven.add(socket)
      this.#admission.proven(connectionId(socket), socket.remoteAddress)
      this.#forget(connectionId(socket))
    }
  }

  #forget(id: string): void {
    clearTimeout(this.#ends.get(id))
    this.#ends.delete(id)
  }
}

/** Also where the certificate is not understood. */
function isExchanged(socket: TLSSocket): boolean {
  try {
    const { raw } = socket.getPeerX509Certificate() ?? {}
    return raw === undefined || readLeaf(raw).exchanged !== undefined
  } catch {
    return true
  }
}

function endOf(socket: Socket): Owner {
  return { onFault: () => socket.destroy() }
}

/** Of a TCP connection and of the TLS connection on it. */
function connectionId({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
