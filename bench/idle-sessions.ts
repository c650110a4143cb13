/**
 * Sessions that say nothing: so many connections with their handshake behind them, from several loopback addresses, since one
 * address may have no more than `connectionsPerAddressMax`.
 */
import { readFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext } from 'node:tls'
import { limits } from '../src/base/limits.ts'
import { headerOpcode, Opcode } from '../src/cql/protocol.ts'
import type { Credentials } from './certificates.ts'
import { envelope, short, string } from './wire.ts'

export interface IdlePlan {
  readonly port: number
  readonly count: number
  /** Absent for a plain connection. */
  readonly tls?: Credentials
}

/** Handshakes under way at once: fewer than a listener's backlog. */
const openingMax = 64
const startup = envelope(4, Opcode.STARTUP, Buffer.concat([short(1), string('CQL_VERSION'), string('3.0.0')]))

/** Resolves when all are READY. Rejects when one is refused. */
export async function openIdle(plan: IdlePlan): Promise<IdleSessions> {
  const sockets = new Set<Socket>()
  const idle = new IdleSessions(sockets)
  const secureContext = plan.tls && createSecureContext(pemsOf(plan.tls))
  let next = 0
  const openSome = async (): Promise<void> => {
    while (next < plan.count) {
      const localAddress = `127.0.0.${2 + Math.floor(next++ / limits.connectionsPerAddressMax)}`
      const place = { host: '127.0.0.1', port: plan.port, localAddress }
      const raw = connectTcp(place)
      const socket =
        secureContext === undefined
          ? raw
          : // A SPIFFE certificate names no host; the bench knows whom it started.
            connectTls({ socket: raw, secureContext, checkServerIdentity: () => undefined })
      raw.on('error', (error) => socket.destroy(error))
      socket.on('error', () => {})
      await ready(socket)
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
    }
  }
  await Promise.all(Array.from({ length: openingMax }, openSome))
  return idle
}

export class IdleSessions {
  readonly #sockets: ReadonlySet<Socket>

  constructor(sockets: ReadonlySet<Socket>) {
    this.#sockets = sockets
  }

  /** Those that the other end has not closed. */
  get open(): number {
    return this.#sockets.size
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

function ready(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('a session was closed before it was ready')))
    socket.once('data', (answer: Buffer) => {
      if (headerOpcode(answer, 0) === Opcode.READY) resolve()
      else reject(new Error(`STARTUP was answered: ${answer.toString('latin1', 9)}`))
    })
    socket.write(startup)
  })
}

function pemsOf({ cert, key, ca }: Credentials): { cert: Buffer; key: Buffer; ca: Buffer } {
  return { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca) }
}
