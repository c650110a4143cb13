/**
 * One client connection as a state machine (docs/connection-states.md): its handshake (`handshake.ts`), then
 *
 *   ready ──its proof ends, the proxy stops──▶ ready, leaving ──▶ draining ──the last answer──▶ closed
 *
 * OPTIONS in any state; anything else out of its state is a protocol error and ends the connection.
 *
 * Rule: only whole envelopes in state `ready` reach the backend, each stream id at most once until it is answered.
 */
import type { Duplex } from 'node:stream'
import { type BytesBudget, overloaded } from '../base/bytes-budget.ts'
import { after, contain, contained, containFault, nextTurn, nothingEnds } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { errorEnvelope, gracefulDisconnectEnvelope, readyEnvelope, supportedEnvelope } from '../cql/encode.ts'
import { type Envelope, wholeEnvelope } from '../cql/envelope.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { Flag, headerFlags, headerOpcode, headerStream, headerVersion, Opcode } from '../cql/protocol.ts'
import { workloadKeyOf } from '../identity/proofs/workload.ts'
import { addressBlock } from '../mesh/address-block.ts'
import type { Accepted } from './arrivals.ts'
import type { Backend, ClientAddresses, ClientInfo, OpenBackend, StartupInfo } from './backend.ts'
import { ClientInbox, type Requester } from './client-inbox.ts'
import { ClientLife, PausedBy } from './client-life.ts'
import { ClientOutbox, type Reader } from './client-outbox.ts'
import { refusing } from './doors.ts'
import { cqlFault } from './fault.ts'
import { asksToBeTold } from './graceful-disconnect.ts'
import { Handshake, type Handshaking, type Phase } from './handshake.ts'
import type { HostTurn } from './host-turn.ts'
import { type Entered, LogIn, unprovedKey } from './log-in.ts'
import type { Outbox } from './outbox.ts'
import { invalidVersion, newestVersion, supportedOptions, supportedWithoutTelling } from './startup.ts'
import { StreamSet } from './streams.ts'
import type { Turn } from './turn.ts'

/** For the other end to close after ours. */
const finishMsMax = 1000

export interface ConnectionOptions {
  readonly accepted: Pick<Accepted, 'addresses' | 'entry' | 'reset' | 'gracefulDisconnect'> & {
    readonly socket: Duplex & { setNoDelay?(on: boolean): unknown }
  }
  readonly budget: BytesBudget
  readonly turn: Turn
  readonly open: OpenBackend
  readonly nowMs: () => number
  /** Of the host that was dialled. */
  readonly hostTurn?: ((dialled: ClientAddresses) => HostTurn | undefined) | undefined
  readonly onClosed: (connection: ClientConnection, reason: string) => void
}

export class ClientConnection extends ClientLife implements Handshaking, Reader, Requester {
  readonly #options: ConnectionOptions
  readonly #socket: ConnectionOptions['accepted']['socket']
  readonly #requests: ClientInbox
  readonly #answers: ClientOutbox
  /** The one of `#answers`, for what is no answer of the backend. */
  readonly #outbox: Outbox
  readonly #streams = new StreamSet()
  readonly #handshake: Handshake
  readonly #handshakeTimer: NodeJS.Timeout
  /** Of the first envelope; until then the one in which a client is answered that speaks none of ours. */
  #version: ProtocolVersion = newestVersion
  #versionKnown = false
  /** Why there is no place for the client. */
  #refusal: string | undefined
  /** It ends before it was READY, and nothing that it sent waits for an answer that could say so (`reset.ts`). */
  #isReset = false
  /** It registered for GRACEFUL_DISCONNECT. */
  #isToBeTold = false

  constructor(options: ConnectionOptions) {
    const { socket, addresses, entry } = options.accepted
    const { nowMs, hostTurn } = options
    // What it holds counts for nobody until it is known who it is; then for that identity.
    const owner = entry instanceof LogIn ? unprovedKey : workloadKeyOf(entry.info.identity)
    const account = options.budget.open(owner, addressBlock(addresses.address))
    super({ door: 'client connection', account, nowMs, hostTurn: () => hostTurn?.(addresses) })
    this.#options = options
    this.#socket = socket
    // A stranger sends little, and does not wait for other strangers.
    this.#requests = new ClientInbox(this, options.turn.readsOf(entry instanceof LogIn ? this : account.identity))
    const { inbound } = this.#requests
    this.#answers = new ClientOutbox(socket, options.turn, this, nowMs)
    this.#outbox = this.#answers.outbox
    this.#handshake = new Handshake(this, inbound, this.#outbox, entry instanceof LogIn ? entry : undefined)
    if (!(entry instanceof LogIn)) this.#enter(entry)
    this.#handshakeTimer = after(this, 'the end of a handshake', this.#handshake.msMax, () =>
      this.close('handshakeTimeoutMs passed'),
    )
    const on = (event: string, place: string, heard: (chunk: Buffer) => void): void => {
      this.#socket.on(event, contained(this, place, heard))
    }
    on('data', 'bytes of a client', (chunk) => this.#onData(chunk))
    on('drain', 'room in a client connection', () => this.#answers.drained())
    on('end', 'the end of what a client sends', () => this.#outbox.end())
    on('close', 'the end of a client connection', () => this.#onClose())
    this.#socket.on('error', (error: Error) => this.because(error.message))
    this.#socket.setNoDelay?.(true)
  }

  get version(): ProtocolVersion {
    return this.#version
  }

  get state(): Phase | 'draining' | 'closed' {
    return this.life === 'open' ? this.#handshake.phase : this.life
  }

  override get inFlight(): number {
    return this.#streams.count
  }

  /** Called now and then; closes a reader that is too slow. */
  checkReader(): void {
    this.#answers.checkReader()
  }

  override answer(buffer: Buffer, start: number, end: number, stream: number): void {
    this.#streams.delete(stream)
    super.answer(buffer, start, end, stream)
  }

  override event(buffer: Buffer, start: number, end: number): void {
    if (this.state === 'ready') super.event(buffer, start, end)
  }

  protected give(buffer: Buffer, start: number, end: number, stream: number): void {
    this.#answers.answer(buffer, start, end, stream)
  }

  /** Part of `Reader`. */
  onSlow(slow: boolean): void {
    if (slow) this.pauseFor(PausedBy.OUTBOX)
    this.backend?.pauseAnswers?.(slow)
    if (!slow) this.resumeFrom(PausedBy.OUTBOX)
  }

  /** Part of `Requester`. */
  get isReady(): boolean {
    return this.#handshake.phase === 'ready'
  }

  /** Part of `Requester`. */
  get isHeld(): boolean {
    return this.isPausedBy(PausedBy.OUTBOX | PausedBy.BACKEND)
  }

  /** Part of `Requester`. */
  onNoRoom(none: boolean): void {
    if (none) this.pauseFor(PausedBy.ACCOUNT)
    else this.resumeFrom(PausedBy.ACCOUNT)
  }

  /** Part of `Requester`. */
  onLater(later: boolean): void {
    if (later) this.pauseFor(PausedBy.TURN)
    else this.resumeFrom(PausedBy.TURN)
  }

  override leave(reason: string, msMax?: number): void {
    if (this.state === 'ready') super.leave(reason, msMax)
    else this.drain(reason)
  }

  override drain(reason: string): void {
    if (this.state === 'ready') super.drain(reason)
    else if (this.life === 'open') this.close(reason)
  }

  protected override tell(): boolean {
    if (!this.#isToBeTold) return false
    const envelope = gracefulDisconnectEnvelope(this.#version)
    this.event(envelope, 0, envelope.length)
    return true
  }

  protected override onDrain(): void {
    this.#requests.giveUp()
  }

  protected override get isSettled(): boolean {
    return this.#requests.inbound.isAtBoundary
  }

  protected read(on: boolean): void {
    if (!on) this.#socket.pause()
    else if (this.#requests.inbound.waits) this.#requests.readLater()
    else this.#socket.resume()
  }

  override close(reason: string): void {
    if (this.life === 'open' && this.state !== 'ready') {
      const stream = this.#handshake.waitingStream
      if (stream >= 0 && !this.#handshake.isDelicate) {
        const { code, message } = cqlFault(new RingfenceError('UNAVAILABLE', reason))
        this.#outbox.send(errorEnvelope(this.#version, stream, code, message))
      } else this.#isReset = true
    }
    this.end(reason)
  }

  protected finish(): void {
    const end = (): void => {
      this.#outbox.flushNow()
      // One that reads slowly has what it was answered.
      const isOwed = this.#outbox.hasLong || (this.isGoing && this.#outbox.waitingBytes > 0)
      if (this.#isReset) this.#options.accepted.reset()
      else this.#outbox.end()
      // What is left unread would make the system cut the connection off, and the last answers with it.
      if (this.isGoing) this.#socket.resume()
      const msMax = isOwed ? limits.drainMsMax : finishMsMax
      after(this, 'a client that does not close', msMax, () => this.#socket.destroy()).unref()
    }
    // What came until the next turn would be read by nobody; but the turn's flush runs first where an answer waits for it.
    const isNow = this.isGoing && this.#outbox.waitingBytes === 0
    if (!isNow) this.#socket.pause()
    if (isNow) end()
    else nextTurn(this, 'the last answers of a client', end)
  }

  protected override cut(): void {
    const { state } = this
    if (state === 'ready' || state === 'draining' || state === 'closed') this.#socket.destroy()
    else this.#options.accepted.reset()
  }

  #onData(chunk: Buffer): void {
    if (this.life === 'closed') return
    this.heard()
    if (!this.isReady && !this.#handshake.mayCome(chunk.length)) {
      this.destroy('unauthenticatedBytesMax reached')
      return
    }
    this.#requests.push(chunk)
  }

  /** Part of `Requester`. */
  onDropped(stream: number, isTooLong: boolean): void {
    if (!this.isReady || this.life === 'closed') return
    if (this.#streams.has(stream)) {
      this.#protocolError(stream, `stream id ${stream} is in flight already`)
      return
    }
    const tooLong = `the request is longer than messageBytesMax (${limits.messageBytesMax} bytes)`
    const noRoom = this.life === 'draining' ? this.refusal() : overloaded()
    const fault = cqlFault(isTooLong ? new RingfenceError('TOO_LARGE', tooLong) : noRoom)
    this.#outbox.send(errorEnvelope(this.#version, stream, fault.code, fault.message))
    this.#answers.bound()
    this.look()
  }

  /** Part of `Handshaking`; and of bytes that are no envelope: one answer on the stream that can be told, then the end. */
  refuse(reason: unknown, stream: number): void {
    const unknownVersion = reason instanceof RingfenceError && reason.code === 'VERSION'
    const fault = cqlFault(
      unknownVersion ? new RingfenceError('VERSION', invalidVersion(this.#requests.inbound.faultVersion)) : reason,
    )
    if (fault.ours) containFault(nothingEnds, 'bytes of a client', reason)
    this.#outbox.send(errorEnvelope(this.#version, stream, fault.code, fault.message))
    this.end(fault.message)
  }

  #protocolError(stream: number, message: string): void {
    this.refuse(new RingfenceError('PROTOCOL', message), stream)
  }

  /** Part of `Requester`. */
  onEnvelope(buffer: Buffer, start: number, end: number): void {
    if (this.life === 'closed') return
    // Inbound lets 3, 4 and 5 through and nothing else.
    const version = headerVersion(buffer, start) as ProtocolVersion
    const stream = headerStream(buffer, start)
    if (!this.#versionKnown) {
      this.#version = version
      this.#versionKnown = true
      this.#requests.inbound.expectVersion(version)
    }
    if (stream < 0) {
      this.#protocolError(stream, `stream id ${stream} is not a client's to use`)
      return
    }
    // Old drivers set it on v5, which is no beta any more; it means nothing here, and the node does not see it.
    buffer[start + 1] = headerFlags(buffer, start) & ~Flag.USE_BETA
    const opcode = headerOpcode(buffer, start)
    switch (opcode) {
      case Opcode.QUERY:
      case Opcode.PREPARE:
      case Opcode.EXECUTE:
      case Opcode.BATCH:
        this.#request(buffer, start, end, stream)
        return
      case Opcode.REGISTER:
        this.#requestRegister({ bytes: buffer, start, end })
        return
      case Opcode.OPTIONS:
        if (!this.isReady) this.#handshake.countOptions()
        this.#outbox.send(supportedEnvelope(version, stream, this.#tells ? supportedOptions : supportedWithoutTelling))
        this.#answers.bound()
        this.look()
        return
      case Opcode.STARTUP:
        this.#handshake.startup({ bytes: buffer, start, end }, stream)
        return
      case Opcode.AUTH_RESPONSE:
        this.#handshake.authResponse({ bytes: buffer, start, end }, stream)
        return
      default:
        this.#protocolError(stream, `unknown opcode ${opcode}`)
    }
  }

  #request(buffer: Buffer, start: number, end: number, stream: number, otherwise?: (backend: Backend) => void): void {
    if (!this.isReady || this.backend === undefined) {
      this.#protocolError(stream, 'unexpected message before the connection is ready, expecting STARTUP or OPTIONS')
      return
    }
    if (!this.#streams.add(stream)) {
      this.#protocolError(stream, `stream id ${stream} is in flight already`)
      return
    }
    this.serve(buffer, start, end, otherwise)
  }

  /** Apart, for what a closure refers to is made where its function begins, whether the closure is made or not. */
  #requestRegister(asked: Envelope): void {
    const { bytes, start, end } = asked
    this.#request(bytes, start, end, headerStream(bytes, start), (backend) => this.#register(backend, asked))
  }

  get #tells(): boolean {
    return this.#options.accepted.gracefulDisconnect !== false
  }

  /** That it is to be told of its end is between the client and this connection; the backend does not hear of it. */
  #register(backend: Backend, envelope: Envelope): void {
    const asked = this.#tells ? asksToBeTold(envelope, this.#version) : undefined
    this.#isToBeTold ||= asked !== undefined
    const others = asked === undefined ? envelope : asked.others && wholeEnvelope(asked.others)
    if (others !== undefined) {
      backend.request(others.bytes, others.start, others.end)
      return
    }
    const ready = readyEnvelope(this.#version, headerStream(envelope.bytes, envelope.start))
    this.answer(ready, 0, ready.length, headerStream(ready, 0))
  }

  /** Part of `Handshaking`. */
  known(entered: Entered): void {
    this.#moveAccount(entered.info)
    this.#enter(entered)
  }

  /** What it holds is its own from now on. */
  #moveAccount({ identity, address }: ClientInfo): void {
    const unproved = this.account
    const { heldBytes } = unproved
    unproved.give(heldBytes)
    unproved.close()
    this.account = this.#options.budget.open(workloadKeyOf(identity), addressBlock(address))
    this.account.add(heldBytes)
    this.#requests.readBy(this.#options.turn.readsOf(this.account.identity))
  }

  #enter({ info, refusal }: Entered): void {
    this.#refusal = refusal
    this.enter(info)
  }

  /** Part of `Handshaking`. */
  openBackend(startup: StartupInfo, ready: () => void, failed: (reason: unknown) => void): void {
    const advice = 'close connections or use another proxy'
    const open = this.#refusal === undefined ? this.#options.open : refusing(`${this.#refusal}; ${advice}`)
    this.backend = open(this, startup, ready, failed)
  }

  /** Part of `Handshaking`. */
  notOpened(reason: unknown, stream: number): void {
    // What may be otherwise at the next attempt is not told to a driver that would then make none.
    const isFinal = reason instanceof RingfenceError && reason.code === 'UNAUTHORIZED'
    if (this.#handshake.isDelicate && !isFinal) this.#isReset = true
    else this.fault(reason, stream)
    this.end('the backend did not open')
  }

  /** Part of `Handshaking`. */
  onReady(): void {
    clearTimeout(this.#handshakeTimer)
  }

  #onClose(): void {
    clearTimeout(this.#handshakeTimer)
    this.#requests.close()
    this.#answers.over()
    contain(this, 'the end of a handshake', () => this.#handshake.over())
    contain(this, 'the end of a client connection', () => this.over())
    this.#options.onClosed(this, this.reason)
  }
}
