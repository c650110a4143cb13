/**
 * A door: accepts sockets, reads the PROXY header where one is due, ends TLS, and says who is there where the connection shows it. Where it
 * shows nothing and the listener takes proofs that are asked for, what is behind it gets a `LogIn` in place of an identity.
 */

import { constants } from 'node:crypto'
import { chmodSync, lstatSync, rmSync } from 'node:fs'
import type { Server, Socket } from 'node:net'
import { BlockList, createServer, isIPv6 } from 'node:net'
import type { TLSSocket, Server as TlsServer } from 'node:tls'
import { createServer as createTlsServer } from 'node:tls'
import { after, contain, contained, containOwnFault, type Owner, settle } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { proofs } from '../identity/proofs/index.ts'
import type { Connected, Evidence, Proof, ProofCheck, Trust } from '../identity/proofs/proof.ts'
import { type AskingProof, askedOf, shownBy } from '../identity/proofs/registry.ts'
import { LogInRefused } from '../identity/refusal.ts'
import { parseSpiffeId, type SpiffeId } from '../identity/spiffe.ts'
import type { VerifiedIdentity } from '../identity/verified.ts'
import { addressBlock } from '../mesh/address-block.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { Logger } from '../telemetry/log.ts'
import type { ClientAddresses } from './backend.ts'
import type { Doors } from './doors.ts'
import { socketPathOf } from './listener-config.ts'
import { type Entered, LogIn } from './log-in.ts'
import type { Leave } from './places.ts'
import type { ProxyHeader } from './proxy-header.ts'
import { readProxyHeader } from './proxy-header.ts'
import type { LogInRefusals, RefusalMode } from './refusals.ts'
import { reset } from './reset.ts'

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

export interface Accepted {
  readonly socket: Socket | TLSSocket
  /** Ends it so that a client notices that has not heard READY. */
  readonly reset: () => void
  readonly addresses: ClientAddresses
  /** The application protocol that TLS settled on, such as `ringfence/1`. */
  readonly protocol: string | undefined
  /** Who is there, where the connection shows it; else the client is asked. */
  readonly entry: Entered | LogIn
  /** It may ask to be told of its end; true where it does not say. */
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

/** A connection of which it is not known yet who is there. */
interface Arrival {
  readonly raw: Socket
  readonly socket: Socket | TLSSocket
  readonly addresses: ClientAddresses
  readonly protocol: string | undefined
  /** It counts with the handshakes no longer. */
  readonly proved: Leave
}

export class Listener {
  readonly #options: ListenerOptions
  readonly #server: Server
  readonly #tls: TlsServer | undefined
  readonly #trusted: BlockList | undefined
  readonly #identity: SpiffeId | undefined
  /** The kinds of proof that it takes. */
  readonly #taken: readonly Proof[]
  readonly #asked: readonly AskingProof[]
  readonly #sockets = new Set<Socket>()
  /** What is known of a connection, by the raw peer, until TLS is done. */
  readonly #unproved = new Map<string, Pick<Arrival, 'raw' | 'addresses' | 'proved'>>()

  /** Of connections that TLS reads from. */
  readonly #addresses = new WeakMap<Socket, ClientAddresses>()

  constructor(options: ListenerOptions) {
    this.#options = options
    const { config } = options
    this.#identity = config.identity === undefined ? undefined : parseSpiffeId(config.identity)
    this.#taken = proofs.taken(config.authentication)
    this.#asked = askedOf(this.#taken)
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
      this.#tls.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
        const addresses = this.#addressesBelow(socket)
        options.log.info({ peer: addresses?.address, reason: error.message }, 'TLS handshake refused')
        // Whoever speaks no TLS does not understand its alert.
        const plain = this.#unproved.get(`${socket.remoteAddress}:${socket.remotePort}`)?.raw
        const { authorizationError } = socket
        if (addresses !== undefined && authorizationError)
          this.#remember(addresses, authorizationError, certificateWords(authorizationError))
        if (error.code === 'ERR_SSL_WRONG_VERSION_NUMBER' && plain !== undefined) reset(plain)
        else socket.destroy()
      })
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
    this.#awaitProxyHeader(raw)
  }

  #awaitProxyHeader(raw: Socket): void {
    let seen: Buffer = Buffer.alloc(0)
    const headerCame = this.#options.doors.handshake(undefined, raw)
    const timer = after(endsSocket(raw), 'a PROXY header', limits.proxyHeaderTimeoutMs, () => reset(raw))
    const onReadable = contained(endsSocket(raw), 'a PROXY header', (): void => {
      const chunk = raw.read() as Buffer | null
      if (chunk === null) return
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
      let header: ProxyHeader | undefined
      try {
        header = readProxyHeader(seen)
      } catch (reason) {
        containOwnFault('a PROXY header', reason)
        this.#options.log.warn({ peer: raw.remoteAddress, reason: String(reason) }, 'PROXY header refused')
        clearTimeout(timer)
        reset(raw)
        return
      }
      if (header === undefined) return
      clearTimeout(timer)
      raw.off('readable', onReadable)
      headerCame()
      const rest = seen.subarray(header.bytes)
      if (rest.length > 0) raw.unshift(rest)
      this.#addressed(raw, {
        address: header.source?.address ?? raw.remoteAddress ?? '',
        port: header.source?.port ?? raw.remotePort ?? 0,
        dialledAddress: header.destination?.address ?? raw.localAddress ?? '',
        dialledPort: header.destination?.port ?? raw.localPort ?? 0,
      })
    })
    raw.on('readable', onReadable)
    raw.once('close', () => clearTimeout(timer))
  }

  /** Of the client whose handshake failed. Its socket has no peer by then; `_parent`, not in Node's types, is what it reads from. why.test.ts holds it. */
  #addressesBelow(socket: TLSSocket): ClientAddresses | undefined {
    const { _parent: raw } = socket as TLSSocket & { readonly _parent?: Socket | null }
    return raw === undefined || raw === null ? undefined : this.#addresses.get(raw)
  }

  /** The addresses are known; who is there follows from TLS or from the listener itself. */
  #addressed(raw: Socket, addresses: ClientAddresses): void {
    const proved = this.#options.doors.handshake(addressBlock(addresses.address), raw)
    if (this.#tls === undefined) {
      this.#prove({ raw, socket: raw, addresses, protocol: undefined, proved }, [])
      return
    }
    const key = `${raw.remoteAddress}:${raw.remotePort}`
    this.#addresses.set(raw, addresses)
    this.#unproved.set(key, { raw, addresses, proved })
    raw.once('close', () => this.#unproved.delete(key))
    this.#tls.emit('connection', raw)
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
    // Where clients may come without a certificate, TLS lets a bad one pass too.
    if (leaf !== undefined && !socket.authorized) {
      this.#refuseCertificate(arrival, socket.authorizationError)
      return
    }
    const certificates = leaf === undefined ? [] : [leaf.raw]
    for (let issuer = leaf?.issuerCertificate; issuer !== undefined; issuer = issuer.issuerCertificate) {
      if (certificates.length >= 4 || issuer.raw.equals(certificates.at(-1)!)) break
      certificates.push(issuer.raw)
    }
    this.#prove(arrival, certificates)
  }

  /** Verifies what the connection itself shows; asks where it shows nothing. */
  #prove(arrival: Arrival, certificates: readonly Buffer[]): void {
    const connection = { certificates, listenerIdentity: this.#identity }
    // A mesh link shows its certificate, whatever clients are asked for here.
    const taken = this.#isLink(arrival) ? proofs.taken(undefined) : this.#taken
    const evidence = shownBy(taken, connection)
    if (evidence === undefined) {
      this.#ask(arrival, connection)
      return
    }
    const enter = (identity: VerifiedIdentity): void => {
      if (!arrival.raw.destroyed) this.#give(arrival, this.#enter(arrival, identity, evidence))
    }
    try {
      const identity = proofs.verify(evidence, this.#check(arrival))
      if (identity instanceof Promise) {
        const refused = (reason: unknown): void => this.#refuse(arrival, reason)
        settle({ onFault: refused }, 'a proof', identity, enter, refused)
      } else enter(identity)
    } catch (reason) {
      this.#refuse(arrival, reason)
    }
  }

  /** Counts with the handshakes until it has proved who it is. A mesh link is never asked. */
  #ask(arrival: Arrival, connection: Connected): void {
    const asked = this.#asked.filter(({ asks }) => asks.needs?.(connection) !== false)
    if (asked.length === 0 || this.#isLink(arrival)) reset(arrival.raw)
    else this.#give(arrival, this.#logIn(arrival, asked, connection))
  }

  /**
   * A TLS alert names no cause, and one driver stays away for good after it. So who shows a certificate that is not good, where others are asked, hears why in answer to
   * STARTUP.
   */
  #refuseCertificate(arrival: Arrival, reason: unknown): void {
    const asked = this.#asked
    if (asked.length === 0 || this.#isLink(arrival)) {
      this.#refuse(arrival, reason)
      return
    }
    const words = certificateWords(reason)
    const refused = new LogInRefused('certificate', words, { words })
    this.#give(arrival, this.#logIn(arrival, asked, { certificates: [], listenerIdentity: undefined }, refused))
  }

  #logIn(arrival: Arrival, asked: readonly AskingProof[], connection: Connected, refusedBefore?: LogInRefused): LogIn {
    return new LogIn({
      asked,
      connection,
      ...(refusedBefore === undefined ? {} : { refusedBefore }),
      address: arrival.addresses.address,
      port: arrival.addresses.port,
      listener: this.#where,
      check: () => this.#check(arrival),
      enter: ({ identity, evidence }) => this.#enter(arrival, identity, evidence),
      refusals: this.#options.refusals,
      refusal: this.#options.config.refusal ?? 'auto',
    })
  }

  /** It is known who is there. Where there is no place for it, it counts with the handshakes until it has been told and is gone. */
  #enter(arrival: Arrival, identity: VerifiedIdentity, evidence: Evidence): Entered {
    const { raw, addresses, proved } = arrival
    // Its place would never be given back.
    if (raw.destroyed) throw new RingfenceError('UNAVAILABLE', 'the client is gone')
    const info = { identity, evidence, ...addresses }
    const refusal = this.#options.doors.enter(raw, info, this.#isLink(arrival))
    if (refusal === undefined) proved()
    return { info, refusal }
  }

  #give({ raw, socket, addresses, protocol }: Arrival, entry: Entered | LogIn): void {
    const { gracefulDisconnect } = this.#options.config
    this.#options.onAccepted({ socket, reset: () => reset(raw), addresses, protocol, entry, gracefulDisconnect })
  }

  #isLink({ protocol }: Arrival): boolean {
    return protocol !== undefined && this.#options.protocols.includes(protocol)
  }

  #check({ addresses: { address } }: Arrival): ProofCheck {
    const { nowMs, trust } = this.#options
    return { nowMs: nowMs(), trust: trust(), gateway: undefined, named: this.#identity, address }
  }

  #refuse({ raw, addresses }: Pick<Arrival, 'raw' | 'addresses'>, reason: unknown): void {
    containOwnFault('a client that comes', reason)
    this.#options.log.warn({ peer: addresses.address, reason: String(reason) }, 'client refused')
    this.#remember(addresses, reason, reason instanceof Error ? reason.message : String(reason))
    reset(raw)
  }

  /** Who is refused for what the connection itself shows. */
  #remember({ address, port }: ClientAddresses, reason: unknown, words: string): void {
    // What TLS says is a word; an error that is none of ours says nothing of the client.
    const isOfClient = !(reason instanceof Error) || reason instanceof RingfenceError
    const { why: cause, evidence } =
      reason instanceof LogInRefused ? reason : ({ why: isOfClient ? 'certificate' : 'other', evidence: {} } as const)
    const refused = { client: { address, port }, driver: undefined, cause, evidence, gateway: undefined }
    this.#options.refusals.remember(refused, words, this.#where)
  }

  /**
   * TLS 1.3 only, both sides show a certificate unless the listener asks for other proofs, and no tickets: Node would resume a session of an
   * expired certificate.
   */
  #tlsOptions(credentials: Credentials) {
    const { protocols } = this.#options
    return {
      key: credentials.keyPem,
      cert: credentials.certificatePem,
      ca: credentials.bundlePem,
      minVersion: 'TLSv1.3',
      requestCert: true,
      rejectUnauthorized: this.#asked.length === 0,
      secureOptions: constants.SSL_OP_NO_TICKET,
      handshakeTimeout: limits.handshakeTimeoutMs,
      ...(protocols.length > 0 ? { ALPNProtocols: [...protocols] } : {}),
    } as const
  }
}

/** Of what TLS says of a certificate that it does not accept. */
function certificateWords(reason: unknown): string {
  const code = String(reason)
  if (code.includes('CERT_HAS_EXPIRED')) return "the client's certificate has expired"
  if (code.includes('CERT_NOT_YET_VALID')) return "the client's certificate is not valid yet, or a clock is wrong"
  if (/ISSUER|SELF_SIGNED|SIGNATURE/.test(code))
    return "the client's certificate is of an authority that is not known here"
  return "the client's certificate is not good"
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

function endsSocket(socket: Socket): Owner {
  return { onFault: () => socket.destroy() }
}
