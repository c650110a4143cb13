/**
 * The sidecar's end of a mesh link: sessions that gateways open, each with a passport, each enforced like a driver's own.
 *
 * Rule: a session exists only after its passport was verified here; what a gateway says of its clients is not believed without.
 */
import type { TLSSocket } from 'node:tls'
import { type ByteAccount, overloaded, Verdict } from '../base/bytes-budget.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { errorEnvelope } from '../cql/encode.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { headerOpcode, headerStream, headerVersion } from '../cql/protocol.ts'
import { type Passport, verifyPassport } from '../identity/passport.ts'
import type { Trust } from '../identity/proofs/proof.ts'
import type { SpiffeId } from '../identity/spiffe.ts'
import { trustDomainOf } from '../identity/spiffe.ts'
import { FairSender, SessionQueue } from '../link/fair-sender.ts'
import { Pieces } from '../link/pieces.ts'
import type { Close, Hello, Open } from '../link/protocol.ts'
import {
  CONTROL_VERSION,
  Control,
  controlEnvelope,
  FRAME_BODY_BYTES_MAX,
  givenSchema,
  helloSchema,
  LINK_PROTOCOL,
  numberedSchema,
  openSchema,
  readControl,
  ringQuerySchema,
  schemaQuerySchema,
  tableQuerySchema,
  tableSchema,
  tryControl,
} from '../link/protocol.ts'
import { FrameSplitter } from '../link/splitter.ts'
import type { Credentials } from '../mesh/credentials.ts'
import { addressBlock } from '../session/address-block.ts'
import type { Client, ClientInfo } from '../session/backend.ts'
import type { Refusals } from '../session/doors.ts'
import { cqlFault } from '../session/fault.ts'
import type { Accepted } from '../session/listener.ts'
import { LogIn } from '../session/log-in.ts'
import { Outbox } from '../session/outbox.ts'
import type { Leave, PlaceBounds, Places } from '../session/places.ts'
import type { Logger } from '../telemetry/log.ts'
import type { EnforcedSession } from './session.ts'

/** A smaller answer is given to a session whatever waits, as long as that is not much more than may. */
const SMALL_BYTES = 1024
/** So much more. */
const REFUSALS_BYTES_MAX = 8 * 1024 * 1024

/** As limits.ts has them. */
export const linkedBounds: PlaceBounds = {
  name: 'linkedSessions',
  max: limits.linkedSessionsMax,
  perAddressMax: limits.linkedSessionsPerAddressMax,
  perIdentityMax: limits.linkedSessionsPerIdentityMax,
}

export interface LinkHost {
  readonly log: Logger
  readonly credentials: () => Credentials
  readonly trust: () => Trust
  readonly hello: () => Hello
  readonly schemaVersion: () => Promise<string>
  /** The control envelope that answers RING_QUERY `id`; borrowed. */
  readonly ring: (id: number) => Buffer
  /** Names in order; empty for a table that is virtual or not known. */
  readonly partitionKey: (keyspace: string, table: string) => readonly string[]
  readonly turn: ConstructorParameters<typeof Outbox>[1]
  /** Of a verified client; closed with its session. */
  readonly account: (info: ClientInfo) => ByteAccount
  /** For the sessions of all links. */
  readonly places: Places
  readonly refusals: Refusals
  /** Makes the session of a verified client; `open` connects it to the node. Throws where `keyspace` may not be used. */
  readonly session: (client: Client, open: LinkedOpen) => EnforcedSession
  readonly onClosed: (link: LinkServer) => void
}

export interface LinkedOpen {
  /** The gateway's name for the client's connection. */
  readonly session: string
  readonly version: ProtocolVersion
  readonly keyspace: string
  readonly events: readonly string[]
  readonly driverName: string | undefined
  readonly gateway: SpiffeId
}

interface Verifying {
  /** The gateway said PAUSE meanwhile. */
  answersPaused: boolean
}

export class LinkServer {
  readonly #host: LinkHost
  readonly #socket: TLSSocket
  readonly #outbox: Outbox
  /** The way to the gateway for everything but what is about the link or a session. */
  readonly sender: FairSender
  /** The other end knows PAUSE and PIECE. */
  readonly #inPieces: boolean
  readonly #splitter: FrameSplitter
  readonly #pieces = new Pieces(limits.messageBytesMax)
  /** Of the link itself. */
  readonly #ownQueue = new SessionQueue(0, () => {})
  readonly #gateway: SpiffeId
  readonly #gatewayLeafDer: Buffer
  readonly #sessions = new Map<number, LinkedClient>()
  /** Sessions whose passports take time to verify. */
  readonly #verifying = new Map<number, Verifying>()
  readonly #expiry: NodeJS.Timeout

  /** `accepted` has an ALPN of `LINK_PROTOCOLS`. Throws `IDENTITY` when the peer is no gateway. */
  constructor(accepted: Accepted, host: LinkHost) {
    const { entry } = accepted
    assert(!(entry instanceof LogIn), 'a link is never asked who it is')
    if (entry.refusal !== undefined) throw new RingfenceError('OVERLOADED', entry.refusal)
    const { identity, evidence } = entry.info
    const leaf = evidence?.chain[0]
    const gatewayPrefix = `spiffe://${trustDomainOf(host.credentials().spiffeId)}/ringfence/gateway/`
    if (leaf === undefined || !identity.subject.startsWith(gatewayPrefix)) {
      throw new RingfenceError('IDENTITY', `${identity.subject} is no gateway of this mesh`)
    }
    this.#host = host
    this.#gateway = identity.subject
    this.#gatewayLeafDer = leaf
    this.#socket = accepted.socket as TLSSocket
    this.#outbox = new Outbox(this.#socket, host.turn, { framing: 'prefixed', shared: true })
    this.#inPieces = accepted.protocol === LINK_PROTOCOL
    this.sender = new FairSender({ outbox: this.#outbox, inPieces: this.#inPieces })
    this.#splitter = new FrameSplitter(this.#inPieces ? FRAME_BODY_BYTES_MAX : limits.messageBytesMax)
    this.#socket.on('drain', () => this.sender.pump())
    // A link lives no longer than the certificate it was opened with; gateways move their sessions well before.
    const lifeMs = Math.min(Math.max(identity.expiresAtMs - Date.now(), 0), 2 ** 31 - 1)
    this.#expiry = setTimeout(() => this.destroy('the gateway certificate expired'), lifeMs)
    this.#socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    this.#socket.on('error', (error) => host.log.info({ reason: error.message }, 'mesh link failed'))
    this.#socket.on('close', () => this.#onClose())
    this.sendHello()
  }

  get sessionsOpen(): number {
    return this.#sessions.size
  }

  sendHello(): void {
    this.#outbox.send(controlEnvelope(Control.HELLO, helloSchema.parse(this.#host.hello())), 0)
  }

  /** Asks the gateway to move its sessions away, each when nothing of it is in flight; it closes the link after the last. */
  drain(): void {
    this.sendHello()
    this.#outbox.send(controlEnvelope(Control.DRAIN, {}), 0)
  }

  /** Ends every session, each with a reason that its gateway can act on. */
  closeSessions(code: string, message: string): void {
    for (const [number, client] of this.#sessions) {
      this.#sendClose(number, { code, message })
      this.#forget(client)
    }
    this.#sessions.clear()
    for (const number of this.#verifying.keys()) this.#sendClose(number, { code, message })
    this.#verifying.clear()
  }

  destroy(reason: string): void {
    this.#host.log.info({ gateway: this.#gateway, reason }, 'mesh link closed')
    this.#socket.destroy()
  }

  #onData(chunk: Buffer): void {
    try {
      this.#splitter.push(chunk, this)
    } catch (reason) {
      this.#host.log.error({ err: reason, gateway: this.#gateway }, 'mesh link broken')
      this.#socket.destroy()
    }
  }

  /** Part of `FrameSink`. */
  onFrame(number: number, buffer: Buffer, start: number, end: number): void {
    if (headerVersion(buffer, start) === CONTROL_VERSION) this.#control(number, buffer, start, end)
    // A session that was closed here may still have frames under way.
    else this.#sessions.get(number)?.request(buffer, start, end)
  }

  /** Called by a session's client: the session is over here. */
  drop(number: number, reason: Close): void {
    const client = this.#sessions.get(number)
    if (client === undefined) return
    this.#sessions.delete(number)
    this.#pieces.drop(number)
    const { queue } = client
    if (queue.paused || queue.waitingBytes === 0) {
      this.sender.drop(queue)
      this.#sendClose(number, reason)
      return
    }
    // Behind the answers that the client was given.
    const close = closeEnvelope(reason)
    client.account.add(close.length)
    this.sender.enqueue(queue, close, 0, close.length, 0)
  }

  /** Called by a session's client: its gateway is to read nothing more of it, or may again. */
  tell(number: number, control: number): void {
    if (this.#inPieces) this.#outbox.send(controlEnvelope(control, {}), number)
  }

  #sendClose(number: number, reason: Close): void {
    this.#outbox.send(closeEnvelope(reason), number)
  }

  #control(number: number, buffer: Buffer, start: number, end: number): void {
    if (this.#outbox.waitingBytes + this.#ownQueue.waitingBytes > limits.linkWaitingBytesMax) {
      this.destroy('the gateway asks and does not take its answers')
      return
    }
    switch (headerOpcode(buffer, start)) {
      case Control.OPEN:
        this.#open(number, buffer, start, end)
        return
      case Control.CLOSE: {
        const client = this.#sessions.get(number)
        this.#sessions.delete(number)
        this.#verifying.delete(number)
        if (client !== undefined) this.#forget(client)
        return
      }
      case Control.PAUSE: {
        const client = this.#sessions.get(number)
        if (client !== undefined) this.sender.pause(client.queue)
        else this.#pauseLater(number, true)
        return
      }
      case Control.RESUME: {
        const client = this.#sessions.get(number)
        if (client !== undefined) this.sender.resume(client.queue)
        else this.#pauseLater(number, false)
        return
      }
      case Control.PIECE:
        this.#piece(number, buffer, start, end)
        return
      case Control.GIVEN:
        this.#sessions.get(number)?.given(readControl(givenSchema, buffer, start, end).answer)
        return
      case Control.PING:
        this.#outbox.send(controlEnvelope(Control.PONG, {}), 0)
        return
      case Control.SCHEMA_QUERY: {
        const id = tryControl(schemaQuerySchema, buffer, start, end)?.id
        if (id === undefined) return
        const tell = (versions: string[]): void =>
          this.#outbox.send(controlEnvelope(Control.SCHEMA, { id, versions }), 0)
        this.#host.schemaVersion().then(
          (version) => tell([version]),
          () => tell([]),
        )
        return
      }
      case Control.RING_QUERY: {
        const id = tryControl(ringQuerySchema, buffer, start, end)?.id
        if (id === undefined) return
        const envelope = this.#host.ring(id)
        this.sender.enqueue(this.#ownQueue, envelope, 0, envelope.length, 0)
        return
      }
      case Control.TABLE_QUERY: {
        const question = tryControl(tableQuerySchema, buffer, start, end)
        const id = question?.id ?? tryControl(numberedSchema, buffer, start, end)?.id
        if (id === undefined) return
        const known = question === undefined ? [] : this.#host.partitionKey(question.keyspace, question.table)
        const answer = { id, partitionKey: known }
        // A key that the message cannot hold is as good as not known.
        const held = tableSchema.safeParse(answer).success
        this.#outbox.send(controlEnvelope(Control.TABLE, held ? answer : { id, partitionKey: [] }), 0)
        return
      }
      // A kind that only a newer gateway knows is left unanswered, as by an older sidecar it would be.
    }
  }

  /** A part of a long request. */
  #piece(number: number, buffer: Buffer, start: number, end: number): void {
    const client = this.#sessions.get(number)
    if (client === undefined || !this.#inPieces) return
    const whole = this.#pieces.add(number, client.account, buffer, start, end)
    if (whole === undefined) return
    if (this.#pieces.refused) client.refuse(headerStream(whole, 0))
    else if (headerVersion(whole, 0) === CONTROL_VERSION) {
      if (headerOpcode(whole, 0) === Control.GIVEN) this.#control(number, whole, 0, whole.length)
      else throw new RingfenceError('LINK', 'a control message in pieces')
    } else client.request(whole, 0, whole.length)
  }

  /** Nobody waits any more for what there is of the session. */
  #forget(client: LinkedClient): void {
    this.sender.drop(client.queue)
    this.#pieces.drop(client.queue.session)
    client.end()
  }

  #open(number: number, buffer: Buffer, start: number, end: number): void {
    if (number === 0 || this.#sessions.has(number) || this.#verifying.has(number))
      throw new RingfenceError('LINK', `session ${number} is open already`)
    const credentials = this.#host.credentials()
    try {
      // Within: what a client brings along, such as its certificates, may not fit, and others live on this link.
      const open = readControl(openSchema, buffer, start, end)
      const passport = verifyPassport(open.passport, {
        gatewayLeafDer: this.#gatewayLeafDer,
        trust: this.#host.trust(),
        nowMs: Date.now(),
        audience: credentials.spiffeId,
      })
      if (passport instanceof Promise) this.#openLater(number, open, passport)
      else this.#admit(number, open, passport)
    } catch (reason) {
      this.#refuse(number, reason)
    }
  }

  #pauseLater(number: number, paused: boolean): void {
    const verifying = this.#verifying.get(number)
    if (verifying !== undefined) verifying.answersPaused = paused
  }

  /** The proof is verified by asking somebody. The gateway sends nothing of the session before OPENED, and may give it up. */
  #openLater(number: number, open: Open, passport: Promise<Passport>): void {
    const verifying: Verifying = { answersPaused: false }
    const isOver = (): boolean => {
      clearTimeout(timer)
      return this.#verifying.get(number) !== verifying || !this.#verifying.delete(number)
    }
    const refuse = (reason: unknown): void => {
      if (!isOver()) this.#refuse(number, reason)
    }
    const late = (): void => refuse(new RingfenceError('IDENTITY', 'handshakeTimeoutMs passed'))
    const timer = setTimeout(late, limits.handshakeTimeoutMs)
    if (this.#verifying.size >= limits.handshakesMax) {
      passport.catch(() => {})
      clearTimeout(timer)
      throw new RingfenceError('OVERLOADED', 'handshakesMax reached')
    }
    this.#verifying.set(number, verifying)
    passport.then((verified) => {
      if (isOver()) return
      try {
        this.#admit(number, open, verified, verifying.answersPaused)
      } catch (reason) {
        this.#refuse(number, reason)
      }
    }, refuse)
  }

  #admit(number: number, open: Open, passport: Passport, answersPaused = false): void {
    const info: ClientInfo = {
      identity: passport.identity,
      evidence: undefined,
      address: passport.clientAddress,
      port: passport.clientPort,
      dialledAddress: '',
      dialledPort: 0,
    }
    const version = open.version as ProtocolVersion
    const account = this.#host.account(info)
    try {
      const client = new LinkedClient(this, number, info, account, version, this.#host.log)
      if (answersPaused) this.sender.pause(client.queue)
      const leave = this.#enter(client)
      try {
        const session = this.#host.session(client, {
          session: open.session,
          version,
          keyspace: open.keyspace ?? '',
          events: open.events,
          driverName: passport.driverName,
          gateway: this.#gateway,
        })
        this.#sessions.set(number, client)
        client.begin(session, leave)
      } catch (reason) {
        leave()
        throw reason
      }
      client.open().then(
        () => {
          if (this.#sessions.get(number) === client) this.#outbox.send(controlEnvelope(Control.OPENED, {}), number)
        },
        (reason: unknown) => client.close(reason instanceof Error ? reason.message : String(reason)),
      )
    } catch (reason) {
      account.close()
      throw reason
    }
  }

  #refuse(number: number, reason: unknown): void {
    const refusal = RingfenceError.from(reason, 'LINK')
    // What had no place was counted already.
    if (refusal.code !== 'OVERLOADED') {
      this.#host.log.warn({ gateway: this.#gateway, reason: refusal.message }, 'session refused')
    }
    this.#sendClose(number, { code: refusal.code, message: refusal.message })
  }

  /** Throws OVERLOADED where there is no place. */
  #enter(client: LinkedClient): Leave {
    const { places, refusals } = this.#host
    const identity = client.info.identity.key
    const { address } = client.info
    const place = places.take({
      identity,
      address: addressBlock(address),
      displace: () => {
        const reason = 'its place was taken by an identity with fewer'
        refusals.count(reason, { identity, address })
        client.close(reason)
      },
    })
    if (typeof place !== 'string') return place
    refusals.count(place, { identity, address })
    throw new RingfenceError('OVERLOADED', place)
  }

  #onClose(): void {
    clearTimeout(this.#expiry)
    this.#outbox.close()
    for (const client of this.#sessions.values()) this.#forget(client)
    this.#sessions.clear()
    this.#verifying.clear()
    this.sender.close()
    this.#host.onClosed(this)
  }
}

/** Why the gateway is asked to send nothing more of a session: its account has no room, or the session says so. */
const PausedBy = { ACCOUNT: 1, BACKEND: 2 } as const

function closeEnvelope({ code, message }: Close): Buffer {
  return controlEnvelope(Control.CLOSE, { code, message: message.slice(0, 1024) })
}

/** The client of a session that came by a link. */
class LinkedClient implements Client {
  readonly info: ClientInfo
  readonly account: ByteAccount
  readonly #link: LinkServer
  readonly #number: number
  readonly #version: ProtocolVersion
  readonly #log: Logger
  #session: EnforcedSession | undefined
  #leave: Leave = () => {}
  #expiry: NodeJS.Timeout | undefined
  #pausedBy = 0
  /** For the next request. */
  #given: Buffer | undefined
  /** Its answers that wait. */
  readonly queue: SessionQueue

  constructor(
    link: LinkServer,
    number: number,
    info: ClientInfo,
    account: ByteAccount,
    version: ProtocolVersion,
    log: Logger,
  ) {
    this.info = info
    this.account = account
    this.#link = link
    this.#number = number
    this.queue = new SessionQueue(number, (bytes) => account.give(bytes))
    this.#version = version
    this.#log = log
  }

  /** `leave` gives its place back. */
  begin(session: EnforcedSession, leave: Leave): void {
    this.#session = session
    this.#leave = leave
    const lifeMs = this.info.identity.expiresAtMs - Date.now()
    if (Number.isFinite(lifeMs)) {
      // The gateway ends the session at its client's expiry; here is where a gateway that does not is stopped.
      this.#expiry = setTimeout(() => this.close('identity expired'), Math.min(Math.max(lifeMs, 0) + 1000, 2 ** 31 - 1))
    }
  }

  /** Connects the session to the node. */
  async open(): Promise<void> {
    await this.#session?.open()
  }

  request(buffer: Buffer, start: number, end: number): void {
    const session = this.#session
    if (session === undefined) return
    try {
      if (headerVersion(buffer, start) !== this.#version) throw new RingfenceError('PROTOCOL', 'the version changed')
      const given = this.#given
      this.#given = undefined
      if (given === undefined) session.request(buffer, start, end)
      else session.requestGiven(given, buffer, start, end)
    } catch (reason) {
      this.fault(reason, headerStream(buffer, start))
    }
  }

  /** There was no room for the request. */
  refuse(stream: number): void {
    this.#given = undefined
    this.fault(overloaded(), stream)
  }

  given(answer: string): void {
    this.#given = Buffer.from(answer, 'base64')
  }

  answer(buffer: Buffer, start: number, end: number, stream: number): void {
    if (this.#session === undefined) return
    const { sender } = this.#link
    if (sender.mustWait(this.queue, end - start)) this.#wait(buffer, start, end, stream)
    else sender.write(this.queue, buffer, start, end, stream)
  }

  /** The client is paused first, then refused, then closed. */
  #wait(buffer: Buffer, start: number, end: number, stream: number): void {
    const { account } = this
    const bytes = end - start
    const verdict = account.take(bytes)
    if (verdict === Verdict.REFUSE) {
      if (bytes > SMALL_BYTES) {
        this.fault(overloaded(), stream)
        return
      }
      if (account.heldBytes > limits.connectionWaitingBytesMax + REFUSALS_BYTES_MAX) {
        this.close('connectionWaitingBytesMax reached')
        return
      }
      account.add(bytes)
    }
    this.#link.sender.enqueue(this.queue, buffer, start, end, stream)
    if (verdict !== Verdict.OK) this.pause()
  }

  event(buffer: Buffer, start: number, end: number): void {
    this.answer(buffer, start, end, -1)
  }

  fault(reason: unknown, stream: number): void {
    const fault = cqlFault(reason)
    if (fault.ours) this.#log.error({ err: reason }, 'fault in a linked session')
    const envelope = errorEnvelope(this.#version, stream, fault.code, fault.message)
    this.answer(envelope, 0, envelope.length, stream)
    if (fault.fatal) this.close(fault.message)
  }

  pause(): void {
    if ((this.#pausedBy & PausedBy.ACCOUNT) !== 0 || this.#session === undefined) return
    this.#pause(PausedBy.ACCOUNT)
    this.account.whenRoom(0, () => this.#resume(PausedBy.ACCOUNT))
  }

  halt(halted: boolean): void {
    if (halted) this.#pause(PausedBy.BACKEND)
    else this.#resume(PausedBy.BACKEND)
  }

  #pause(why: number): void {
    if (this.#pausedBy === 0) this.#link.tell(this.#number, Control.PAUSE)
    this.#pausedBy |= why
  }

  #resume(why: number): void {
    if (this.#pausedBy === 0) return
    this.#pausedBy &= ~why
    if (this.#pausedBy === 0 && this.#session !== undefined) this.#link.tell(this.#number, Control.RESUME)
  }

  close(reason: string): void {
    if (this.#session === undefined) return
    this.#link.drop(this.#number, { code: 'UPSTREAM', message: reason })
    this.end()
  }

  /** The gateway or the link is gone. */
  end(): void {
    clearTimeout(this.#expiry)
    this.account.close()
    this.#session?.close()
    this.#session = undefined
    this.#leave()
  }
}
