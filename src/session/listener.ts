/**
 * Accepts sockets, reads the PROXY header where one is due, and ends TLS; who is there, `arrivals.ts` finds out.
 */

import { constants } from 'node:crypto'
import { chmodSync, lstatSync, rmSync } from 'node:fs'
import type { Server, Socket } from 'node:net'
import { BlockList, createServer, isIPv6 } from 'node:net'
import type { TLSSocket, Server as TlsServer } from 'node:tls'
import { createServer as createTlsServer } from 'node:tls'
import { contain } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Trust } from '../identity/proofs/proof.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { addressBlock } from '../mesh/address-block.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { Logger } from '../telemetry/log.ts'
import { Repeated } from '../telemetry/repeated.ts'
import { logServerErrors } from '../telemetry/server-errors.ts'
import { type Accepted, type Arrival, Arrivals } from './arrivals.ts'
import type { ClientAddresses } from './backend.ts'
import type { Doors } from './doors.ts'
import { socketPathOf } from './listener-config.ts'
import { awaitProxyHeader } from './proxied.ts'
import type { LogInRefusals, RefusalMode } from './refusals.ts'
import { endsSocket, reset } from './reset.ts'

export interface ListenerConfig {
  /** An IP address, or `unix:` and an absolute path. */
  readonly address: string
  /** 0 lets the system choose; a Unix socket has none. */
  readonly port?: number | undefined
  readonly tls: boolean
  /** The one identity of everybody who comes in by a plain listener. */
  readonly identity?: string | undefined
  /** The kinds of proof that it takes, in the order in which they are tried; those that connections themselves show, where it does not say. */
  readonly authentication?: readonly string[] | undefined
  /** What clients hear whose log-in is refused. */
  readonly refusal?: RefusalMode | undefined
  readonly proxyProtocol?: { readonly from: readonly string[] } | undefined
  /** Clients may ask to be told of the end of their connection; true where it does not say. */
  readonly gracefulDisconnect?: boolean | undefined
}

export interface ListenerOptions {
  readonly config: ListenerConfig
  readonly credentials: Credentials
  readonly trust: () => Trust
  /** Application protocols besides plain CQL. */
  readonly protocols: readonly string[]
  readonly reusePort: boolean
  /** One for all listeners of a process. */
  readonly doors: Doors
  /** One for all listeners of a process. */
  readonly refusals: LogInRefusals
  readonly log: Logger
  readonly nowMs: () => number
  readonly onAccepted: (accepted: Accepted) => void
}

export class Listener {
  readonly #options: ListenerOptions
  readonly #server: Server
  readonly #tls: TlsServer | undefined
  readonly #trusted: BlockList | undefined
  readonly #arrivals: Arrivals
  readonly #sockets = new Set<Socket>()
  /** When the certificate that is shown ends. */
  #notAfterMs: number
  readonly #repeated = new Repeated()
  /** What is known of a connection, by the raw peer, until TLS is done. */
  readonly #unproved = new Map<string, Pick<Arrival, 'raw' | 'addresses' | 'proved'>>()

  /** Of connections that TLS reads from. */
  readonly #addresses = new WeakMap<Socket, ClientAddresses>()

  constructor(options: ListenerOptions) {
    this.#options = options
    const { config } = options
    const { trust, protocols, doors, refusals, log, nowMs, onAccepted } = options
    const { identity, authentication, refusal, gracefulDisconnect } = config
    this.#arrivals = new Arrivals({
      identity: identity === undefined ? undefined : parseSpiffeId(identity),
      authentication,
      refusal,
      gracefulDisconnect,
      trust,
      protocols,
      doors,
      refusals,
      log,
      nowMs,
      where: () => this.#where,
      onAccepted,
    })
    this.#notAfterMs = options.credentials.notAfterMs
    this.#trusted = config.proxyProtocol === undefined ? undefined : blockList(config.proxyProtocol.from)
    this.#server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 }, (raw) =>
      contain(endsSocket(raw), 'a connection that comes', () => this.#accept(raw)),
    )
    // The places are counted in `doors`; this is for what comes faster than it can be closed.
    this.#server.maxConnections = limits.connectionsMax + 2 * limits.handshakesMax
    if (config.tls) {
      this.#tls = createTlsServer(this.#tlsOptions(options.credentials))
      this.#tls.on('secureConnection', (socket) =>
        contain(endsSocket(socket), 'a TLS handshake', () => this.#secured(socket)),
      )
      this.#tls.on('tlsClientError', (error: NodeJS.ErrnoException, socket) =>
        contain(endsSocket(socket), 'a TLS handshake that failed', () => this.#refusedByTls(error, socket)),
      )
    }
  }

  async start(): Promise<void> {
    const { address, port } = this.#options.config
    const path = socketPathOf(address)
    if (path !== undefined) removeStaleSocket(path)
    const where = path ?? `${address}:${port}`
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) => {
        reject(new RingfenceError('UNAVAILABLE', `cannot listen on ${where}: ${error.message}`, { cause: error }))
      })
      if (path !== undefined) this.#server.listen({ path, backlog: 1024 }, resolve)
      else this.#server.listen({ host: address, port, backlog: 1024, reusePort: this.#options.reusePort }, resolve)
    })
    logServerErrors(this.#server, this.#options.log)
    // Whoever may open it speaks for the listener's identity.
    if (path !== undefined) chmodSync(path, 0o600)
  }

  /** The port that is listened on. */
  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : (this.#options.config.port ?? 0)
  }

  /** Where clients come, as refusals name it. */
  get #where(): string {
    const { address } = this.#options.config
    return socketPathOf(address) ?? `${address.includes(':') ? `[${address}]` : address}:${this.port}`
  }

  get connectionsOpen(): number {
    return this.#sockets.size
  }

  /** New handshakes use these; connections that are open stay as they are and end with their own proof. */
  setCredentials(credentials: Credentials): void {
    this.#tls?.setSecureContext(this.#tlsOptions(credentials))
    this.#notAfterMs = credentials.notAfterMs
    this.#repeated.over()
  }

  /** Takes no more connections; those that are open are the caller's to drain. */
  stop(): void {
    this.#server.close()
  }

  destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #accept(raw: Socket): void {
    const peer = raw.remoteAddress ?? 'unix'
    this.#sockets.add(raw)
    raw.on('error', () => raw.destroy())
    raw.once('close', () => this.#sockets.delete(raw))
    if (this.#isOver()) {
      reset(raw)
      return
    }
    if (this.#trusted === undefined) {
      this.#addressed(raw, {
        address: peer,
        port: raw.remotePort ?? 0,
        dialledAddress: raw.localAddress ?? '',
        dialledPort: raw.localPort ?? 0,
      })
      return
    }
    if (!this.#trusted.check(peer, isIPv6(peer) ? 'ipv6' : 'ipv4')) {
      this.#options.log.warn({ peer }, 'PROXY header from an address that may not send one')
      reset(raw)
      return
    }
    const { doors, log } = this.#options
    awaitProxyHeader(raw, doors, log, (socket, addresses) => this.#addressed(socket, addresses))
  }

  /** Nobody is shown a certificate that is over. Connections that are open have ended with their own proofs, or will. */
  #isOver(): boolean {
    const { nowMs, log } = this.#options
    if (this.#tls === undefined || nowMs() < this.#notAfterMs) return false
    const text = 'own certificate has expired: no connection is taken until it is renewed'
    const repeated = this.#repeated.due(text)
    if (repeated !== undefined) log.error({ where: this.#where, notAfterMs: this.#notAfterMs, repeated }, text)
    return true
  }

  /** Of the client whose handshake failed. Its socket has no peer by then; `_parent`, not in Node's types, is what it reads from. why.test.ts holds it. */
  #addressesBelow(socket: TLSSocket): ClientAddresses | undefined {
    const { _parent: raw } = socket as TLSSocket & { readonly _parent?: Socket | null }
    return raw === undefined || raw === null ? undefined : this.#addresses.get(raw)
  }

  /** The addresses are known; who is there follows from TLS or from the listener itself. */
  #addressed(raw: Socket, addresses: ClientAddresses): void {
    const proved = this.#options.doors.handshake(addressBlock(addresses.address), raw)
    if (proved === undefined) return
    if (this.#tls === undefined) {
      this.#arrivals.prove({ raw, socket: raw, addresses, protocol: undefined, proved }, [])
      return
    }
    const key = `${raw.remoteAddress}:${raw.remotePort}`
    this.#addresses.set(raw, addresses)
    this.#unproved.set(key, { raw, addresses, proved })
    raw.once('close', () => this.#unproved.delete(key))
    this.#tls.emit('connection', raw)
  }

  #refusedByTls(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    const addresses = this.#addressesBelow(socket)
    this.#options.log.info({ peer: addresses?.address, reason: error.message }, 'TLS handshake refused')
    // Whoever speaks no TLS does not understand its alert.
    const plain = this.#unproved.get(`${socket.remoteAddress}:${socket.remotePort}`)?.raw
    if (error.code === 'ERR_SSL_WRONG_VERSION_NUMBER' && plain !== undefined) reset(plain)
    else socket.destroy()
  }

  #secured(socket: TLSSocket): void {
    const key = `${socket.remoteAddress}:${socket.remotePort}`
    const unproved = this.#unproved.get(key)
    const leaf = socket.getPeerX509Certificate()
    if (unproved === undefined) {
      socket.destroy()
      return
    }
    this.#unproved.delete(key)
    const protocol = typeof socket.alpnProtocol === 'string' ? socket.alpnProtocol : undefined
    const arrival = { ...unproved, socket, protocol }
    // TLS lets a bad one pass, so that its client hears what is wrong with it.
    if (leaf !== undefined && !socket.authorized) {
      this.#arrivals.refuseCertificate(arrival, socket.authorizationError)
      return
    }
    const certificates = leaf === undefined ? [] : [leaf.raw]
    for (let issuer = leaf?.issuerCertificate; issuer !== undefined; issuer = issuer.issuerCertificate) {
      if (certificates.length >= 4 || issuer.raw.equals(certificates.at(-1)!)) break
      certificates.push(issuer.raw)
    }
    this.#arrivals.prove(arrival, certificates)
  }

  /**
   * TLS 1.3 only, and no tickets: Node would resume a session of an expired certificate. The client is asked for its certificate; what that is
   * worth, `#secured` looks at.
   */
  #tlsOptions(credentials: Credentials) {
    const { protocols } = this.#options
    return {
      key: credentials.keyPem,
      cert: credentials.certificatePem,
      ca: credentials.bundlePem,
      minVersion: 'TLSv1.3',
      requestCert: true,
      rejectUnauthorized: false,
      secureOptions: constants.SSL_OP_NO_TICKET,
      handshakeTimeout: limits.handshakeTimeoutMs,
      ...(protocols.length > 0 ? { ALPNProtocols: [...protocols] } : {}),
    } as const
  }
}

function blockList(cidrs: readonly string[]): BlockList {
  const list = new BlockList()
  for (const cidr of cidrs) {
    const [address = '', bits] = cidr.split('/')
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    list.addSubnet(address, bits === undefined ? (family === 'ipv6' ? 128 : 32) : Number(bits), family)
  }
  return list
}

/** A socket that an earlier process left behind; anything else at the path is somebody's and stays. */
function removeStaleSocket(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true) rmSync(path)
}
