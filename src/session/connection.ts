/**
 * One client connection as a state machine (docs/connection-states.md):
 *
 *   startup ──STARTUP──▶ opening ──backend ready──▶ ready ──expired, stopping──▶ draining ──last answer──▶ closed
 *      │                    ▲
 *      └──▶ authenticating ─┴─ where the connection does not show who is there
 *
 * OPTIONS in any state; anything else out of its state is a protocol error and ends the connection.
 *
 * Rule: only whole envelopes in state `ready` reach the backend, each stream id at most once until it is answered.
 */
import type { Duplex } from 'node:stream'
import { type BytesBudget, overloaded, Verdict } from '../base/bytes-budget.ts'
import { after, contain, contained, nextTurn, settle } from '../base/contained.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import {
  authChallengeEnvelope,
  authenticateEnvelope,
  authSuccessEnvelope,
  errorEnvelope,
  readyEnvelope,
  supportedEnvelope,
} from '../cql/encode.ts'
import { Inbound } from '../cql/inbound.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import {
  envelopeHeaderBytes,
  Flag,
  headerFlags,
  headerOpcode,
  headerStream,
  headerVersion,
  Opcode,
} from '../cql/protocol.ts'
import { readAuthResponse, readStartup } from '../cql/requests.ts'
import type { Logger } from '../telemetry/log.ts'
import { addressBlock } from './address-block.ts'
import type { ClientInfo, OpenBackend, StartupInfo } from './backend.ts'
import { ClientLife, drainMsMax, PausedBy, refusalsBytesMax, smallAnswerBytes } from './client-life.ts'
import { refusing } from './doors.ts'
import { cqlFault } from './fault.ts'
import type { Accepted } from './listener.ts'
import { type Entered, LogIn, type Proven } from './log-in.ts'
import { Outbox } from './outbox.ts'
import { ReaderPace } from './reader-pace.ts'
import { StreamSet } from './streams.ts'
import type { Turn } from './turn.ts'

/** What SUPPORTED says is what is done, and nothing else. */
const supported = new Map([
  ['CQL_VERSION', ['3.4.7']],
  ['COMPRESSION', ['lz4']],
  ['PROTOCOL_VERSIONS', ['3/v3', '4/v4', '5/v5']],
])
const newestVersion: ProtocolVersion = 5
/** OPTIONS before STARTUP, as a health check might send them. */
const earlyOptionsMax = 32
/** For the other end to close after ours. */
const finishMsMax = 1000

/** So little may wait without being counted. */
const uncountedBytesMax = 16 * 1024

/** Whose account it is on while nobody knows who the client is. No identity has this name. */
const unprovedKey = ''

/** The words that drivers look for before they try a lower version (Cassandra's `transport/ProtocolVersion.java`). */
function invalidVersion(version: number): string {
  const versions = supported.get('PROTOCOL_VERSIONS') ?? []
  return `Invalid or unsupported protocol version (${version}); supported versions are (${versions.join(', ')})`
}

/** Of an open connection. `verifying`: what the client answered is being verified. */
type Phase = 'startup' | 'authenticating' | 'verifying' | 'opening' | 'ready'

export interface ConnectionOptions {
  readonly accepted: Pick<Accepted, 'addresses' | 'entry' | 'reset'> & {
    readonly socket: Duplex & { setNoDelay?(on: boolean): unknown }
  }
  readonly budget: BytesBudget
  readonly turn: Turn
  readonly log: Logger
  readonly open: OpenBackend
  readonly nowMs: () => number
  readonly onClosed: (connection: ClientConnection, reason: string) => void
}

export class ClientConnection extends ClientLife {
  readonly #options: ConnectionOptions
  readonly #socket: ConnectionOptions['accepted']['socket']
  readonly #log: Logger
  readonly #inbound = new Inbound('requests', limits.authMessageBytesMax)
  readonly #outbox: Outbox
  readonly #streams = new StreamSet()
  readonly #handshakeTimer: NodeJS.Timeout
  #phase: Phase = 'startup'
  /** Of the first envelope; until then the one in which a client is answered that speaks none of ours. */
  #version: ProtocolVersion = newestVersion
  #versionKnown = false
  #earlyOptions = 0
  #earlyBytes = 0
  /** The request that is dropped as it comes is longer than any may be; else there is no room for it. */
  #isTooLong = false
  /** Taken for a large request that is coming. */
  #largeBytes = 0
  /** For the bytes of small ones that are not whole. */
  #collectingBytes = 0
  #roomTimer: NodeJS.Timeout | undefined
  /** Of the answers that wait; 0 while they are few. */
  #countedBytes = 0
  readonly #pace: ReaderPace
  #logIn: LogIn | undefined
  /** Why there is no place for the client. */
  #refusal: string | undefined
  /** What STARTUP said. */
  #startupInfo: StartupInfo | undefined
  #lz4 = false
  /** The framing of after the handshake is in use: from READY, or from AUTHENTICATE. */
  #isFramed = false
  /** Of the STARTUP or AUTH_RESPONSE that is not answered yet. */
  #handshakeStream = 0
  /** It ends before it was READY, and nothing that it sent waits for an answer that could say so (`reset.ts`). */
  #isReset = false
  /** The socket is closed: nothing counts any more, for nothing would give it back. */
  #isOver = false

  constructor(options: ConnectionOptions) {
    const { socket, addresses, entry } = options.accepted
    const { log, nowMs } = options
    // What it holds counts for nobody until it is known who it is; then for that identity.
    const owner = entry instanceof LogIn ? unprovedKey : entry.info.identity.key
    const account = options.budget.open(owner, addressBlock(addresses.address))
    super({ door: 'client connection', account, log, nowMs })
    this.#options = options
    this.#socket = socket
    this.#log = log
    if (entry instanceof LogIn) this.#logIn = entry
    else this.#entered(entry)
    this.#outbox = new Outbox(socket, options.turn, { onLongOver: () => this.#onDrain() })
    this.#pace = new ReaderPace(options.nowMs)
    this.#handshakeTimer = after(this, 'the end of a handshake', limits.handshakeTimeoutMs, () =>
      this.close('handshakeTimeoutMs passed'),
    )
    this.#socket.on(
      'data',
      contained(this, 'bytes of a client', (chunk: Buffer) => this.#onData(chunk)),
    )
    this.#socket.on(
      'drain',
      contained(this, 'room in a client connection', () => this.#onDrain()),
    )
    this.#socket.on('end', () => this.#outbox.end())
    this.#socket.on('error', (error: Error) => this.because(error.message))
    this.#socket.on(
      'close',
      contained(this, 'the end of a client connection', () => this.#onClose()),
    )
    this.#socket.setNoDelay?.(true)
  }

  get version(): ProtocolVersion {
    return this.#version
  }

  get state(): Phase | 'draining' | 'closed' {
    const { life } = this
    return life === 'open' ? this.#phase : life
  }

  override get inFlight(): number {
    return this.#streams.count
  }

  /** Called now and then: counts what is not taken, and closes a reader that takes too little of it. */
  checkReader(): void {
    if (this.#countedBytes > 0) {
      this.#outbox.trim()
      this.#count(this.#outbox.waitingBytes)
    }
    if (this.#pace.tooSlow(this.#outbox.takenBytes)) this.destroy('slower than readerBytesPerSecondMin')
  }

  override answer(buffer: Buffer, start: number, end: number, stream: number): void {
    this.#streams.delete(stream)
    super.answer(buffer, start, end, stream)
  }

  override event(buffer: Buffer, start: number, end: number): void {
    if (this.state === 'ready') super.event(buffer, start, end)
  }

  protected give(buffer: Buffer, start: number, end: number, stream: number): void {
    if (this.#isOver) return
    const bytes = end - start
    // Events are few and small, and whoever reads too slowly is closed.
    const mayRefuse = stream >= 0 && bytes > (this.#countedBytes > 0 ? smallAnswerBytes : uncountedBytesMax)
    if (mayRefuse && !this.#hasRoom(bytes)) {
      const { code, message } = cqlFault(overloaded())
      this.#outbox.send(errorEnvelope(this.#version, stream, code, message))
    } else this.#outbox.write(buffer, start, end, stream)
    this.#boundOutbox()
  }

  protected read(on: boolean): void {
    if (on) this.#socket.resume()
    else this.#socket.pause()
  }

  override close(reason: string): void {
    const { state } = this
    if (state === 'opening' || state === 'verifying') {
      const { code, message } = cqlFault(new RingfenceError('UNAVAILABLE', reason))
      this.#outbox.send(errorEnvelope(this.#version, this.#handshakeStream, code, message))
    } else if (state === 'startup' || state === 'authenticating') this.#isReset = true
    this.end(reason)
  }

  protected finish(): void {
    this.#socket.pause()
    // The turn's flush runs first, so that the last answer leaves before the end of the stream.
    nextTurn(this, 'the last answers of a client', () => {
      this.#outbox.flushNow()
      const { hasLong } = this.#outbox
      if (this.#isReset) this.#options.accepted.reset()
      else this.#outbox.end()
      const msMax = hasLong ? drainMsMax : finishMsMax
      after(this, 'a client that does not close', msMax, () => this.#socket.destroy()).unref()
    })
  }

  protected override cut(): void {
    const { state } = this
    if (state === 'ready' || state === 'draining' || state === 'closed') this.#socket.destroy()
    else this.#options.accepted.reset()
  }

  #onData(chunk: Buffer): void {
    if (this.state === 'closed' || this.state === 'draining') return
    if (this.state !== 'ready') {
      this.#earlyBytes += chunk.length
      if (this.#earlyBytes > limits.unauthenticatedBytesMax) {
        this.destroy('unauthenticatedBytesMax reached')
        return
      }
    }
    try {
      this.#inbound.push(chunk, this)
    } catch (reason) {
      this.#refuseBytes(reason)
      return
    }
    this.#countCollecting()
  }

  /** What is not whole yet counts; what a large request will take was taken for it when it began. */
  #countCollecting(): void {
    const bytes = this.#largeBytes > 0 ? 0 : this.#inbound.collectingBytes
    const more = bytes - this.#collectingBytes
    if (more === 0) return
    this.#collectingBytes = bytes
    if (more > 0) this.account.add(more)
    else this.account.give(-more)
  }

  /**
   * Part of `EnvelopeSink`: a large request begins. Where there is no room for it the rest is not read until there is, and after
   * `roomTimeoutMs` without it is refused.
   */
  onLarge(_buffer: Buffer, _start: number, envelopeBytes: number): boolean {
    if (this.state !== 'ready') return true
    this.#isTooLong = envelopeBytes - envelopeHeaderBytes > limits.messageBytesMax
    if (this.#isTooLong) return false
    if (this.account.take(envelopeBytes) !== Verdict.REFUSE) {
      this.#largeBytes = envelopeBytes
      // What it has room for must be able to come: it would wait for itself.
      this.#roomMade()
      return true
    }
    this.pauseFor(PausedBy.ACCOUNT)
    this.#roomTimer = after(this, 'a request that waits for room', this.account.roomTimeoutMs, () => {
      this.#inbound.drop()
      this.#countCollecting()
      this.#roomMade()
    })
    this.account.whenRoom(envelopeBytes, () => {
      this.#largeBytes = envelopeBytes
      this.#countCollecting()
      this.#roomMade()
    })
    return true
  }

  #roomMade(): void {
    if (!this.isPausedBy(PausedBy.ACCOUNT)) return
    clearTimeout(this.#roomTimer)
    this.#roomTimer = undefined
    this.account.stopWaiting()
    this.resumeFrom(PausedBy.ACCOUNT)
  }

  /** It is there; from here on it counts where it goes. */
  #largeOver(): void {
    this.account.give(this.#largeBytes)
    this.#largeBytes = 0
    if (this.#roomTimer !== undefined) this.#roomMade()
  }

  /** Part of `EnvelopeSink`. */
  onDropped(stream: number): void {
    if (this.state !== 'ready') return
    if (this.#streams.has(stream)) {
      this.#protocolError(stream, `stream id ${stream} is in flight already`)
      return
    }
    const tooLong = `the request is longer than messageBytesMax (${limits.messageBytesMax} bytes)`
    const fault = cqlFault(this.#isTooLong ? new RingfenceError('TOO_LARGE', tooLong) : overloaded())
    this.#outbox.send(errorEnvelope(this.#version, stream, fault.code, fault.message))
    this.#boundOutbox()
  }

  /** A slow reader stops itself only: its requests are not read until it has taken its answers. */
  #boundOutbox(): void {
    const waiting = this.#outbox.waitingBytes
    if (waiting > uncountedBytesMax || this.#countedBytes > 0) this.#count(waiting)
  }

  #hasRoom(bytes: number): boolean {
    if (this.account.take(bytes) === Verdict.REFUSE) return false
    this.#countedBytes += bytes
    return true
  }

  /** What is small is answered whatever the account says, for it was asked before the client was paused; so this has a bound of its own. */
  #count(waiting: number): void {
    const bytes = waiting > uncountedBytesMax ? waiting : 0
    const more = bytes - this.#countedBytes
    this.#countedBytes = bytes
    if (more > 0) this.account.add(more)
    else if (more < 0) this.account.give(-more)
    if (bytes > limits.connectionWaitingBytesMax + refusalsBytesMax) {
      this.destroy('connectionWaitingBytesMax reached')
    } else if (bytes > limits.outboxHighWaterBytes && !this.isPausedBy(PausedBy.OUTBOX)) {
      this.pauseFor(PausedBy.OUTBOX)
      this.#pace.paused(this.#outbox.takenBytes)
      this.backend?.pauseAnswers?.(true)
    }
  }

  #onDrain(): void {
    this.#outbox.trim()
    if (this.#countedBytes > 0) this.#count(this.#outbox.waitingBytes)
    if (!this.isPausedBy(PausedBy.OUTBOX) || this.#outbox.hasLong) return
    this.#pace.resumed()
    this.backend?.pauseAnswers?.(false)
    this.resumeFrom(PausedBy.OUTBOX)
  }

  /** Bytes that are no envelope: one answer on the stream that can be told, then the end. */
  #refuseBytes(reason: unknown): void {
    const unknownVersion = reason instanceof RingfenceError && reason.code === 'VERSION'
    const fault = cqlFault(
      unknownVersion ? new RingfenceError('VERSION', invalidVersion(this.#inbound.faultVersion)) : reason,
    )
    if (fault.ours) this.#log.error({ err: reason }, 'fault in a client connection')
    this.#outbox.send(errorEnvelope(this.#version, this.#inbound.faultStream, fault.code, fault.message))
    this.end(fault.message)
  }

  /** Part of `EnvelopeSink`. */
  onEnvelope(buffer: Buffer, start: number, end: number): void {
    if (this.#largeBytes > 0 || this.#roomTimer !== undefined) this.#largeOver()
    if (this.state === 'closed' || this.state === 'draining') return
    // Inbound lets 3, 4 and 5 through and nothing else.
    const version = headerVersion(buffer, start) as ProtocolVersion
    const stream = headerStream(buffer, start)
    if (!this.#versionKnown) {
      this.#version = version
      this.#versionKnown = true
      this.#inbound.expectVersion(version)
    }
    if (stream < 0) throw this.#at(stream, `stream id ${stream} is not a client's to use`)
    // Old drivers set it on v5, which is no beta any more; it means nothing here, and the node does not see it.
    buffer[start + 1] = headerFlags(buffer, start) & ~Flag.USE_BETA
    const opcode = headerOpcode(buffer, start)
    switch (opcode) {
      case Opcode.QUERY:
      case Opcode.PREPARE:
      case Opcode.EXECUTE:
      case Opcode.BATCH:
      case Opcode.REGISTER:
        this.#request(buffer, start, end, stream)
        return
      case Opcode.OPTIONS:
        if (this.state !== 'ready' && ++this.#earlyOptions > earlyOptionsMax) {
          throw new RingfenceError('PROTOCOL', 'too many OPTIONS before STARTUP')
        }
        this.#outbox.send(supportedEnvelope(version, stream, supported))
        this.#boundOutbox()
        return
      case Opcode.STARTUP:
        this.#startup(buffer, start, end, version, stream)
        return
      case Opcode.AUTH_RESPONSE:
        this.#authResponse(buffer, start, end, version, stream)
        return
      default:
        this.#protocolError(stream, `unknown opcode ${opcode}`)
    }
  }

  #request(buffer: Buffer, start: number, end: number, stream: number): void {
    if (this.state !== 'ready' || this.backend === undefined) {
      this.#protocolError(stream, 'unexpected message before the connection is ready, expecting STARTUP or OPTIONS')
      return
    }
    if (!this.#streams.add(stream)) {
      this.#protocolError(stream, `stream id ${stream} is in flight already`)
      return
    }
    this.serve(buffer, start, end)
  }

  #startup(buffer: Buffer, start: number, end: number, version: ProtocolVersion, stream: number): void {
    if (this.state !== 'startup') {
      this.#protocolError(stream, 'unexpected STARTUP on an open connection')
      return
    }
    this.#inbound.faultStream = stream
    const options = readStartup(buffer, start, end, version, headerFlags(buffer, start))
    this.#inbound.faultStream = 0
    if (!options.has('CQL_VERSION')) throw this.#at(stream, 'STARTUP without CQL_VERSION')
    const compression = options.get('COMPRESSION')?.toLowerCase()
    if (compression !== undefined && compression !== 'lz4') {
      throw this.#at(stream, `unknown compression algorithm: ${compression.slice(0, 32)}`)
    }
    this.#lz4 = compression === 'lz4'
    this.#startupInfo = {
      version,
      driverName: options.get('DRIVER_NAME'),
      driverVersion: options.get('DRIVER_VERSION'),
      applicationName: options.get('APPLICATION_NAME'),
    }
    if (this.#logIn === undefined) {
      this.#openBackend(stream)
      return
    }
    this.#phase = 'authenticating'
    this.#answerStartup(authenticateEnvelope(version, stream, this.#logIn.className), stream)
  }

  #authResponse(buffer: Buffer, start: number, end: number, version: ProtocolVersion, stream: number): void {
    if (this.state !== 'authenticating' || this.#logIn === undefined) {
      this.#protocolError(stream, 'unexpected AUTH_RESPONSE')
      return
    }
    this.#inbound.faultStream = stream
    const token = readAuthResponse(buffer, start, end, version, headerFlags(buffer, start))
    this.#inbound.faultStream = 0
    try {
      // What it becomes is kept longer than the envelope.
      const step = this.#logIn.answer(Buffer.from(token ?? []))
      if (Buffer.isBuffer(step)) {
        this.#outbox.send(authChallengeEnvelope(version, stream, step))
        return
      }
      this.#phase = 'verifying'
      this.#handshakeStream = stream
      if (step instanceof Promise) {
        settle(
          this,
          'a log-in',
          step,
          (proven) => this.#proved(proven, stream),
          (reason) => this.#notProved(reason, stream),
        )
      } else this.#proved(step, stream)
    } catch (reason) {
      this.#notProved(reason, stream)
    }
  }

  #proved(proven: Proven, stream: number): void {
    if (this.state !== 'verifying' || this.#logIn === undefined) return
    this.#phase = 'opening'
    try {
      const entered = this.#logIn.enter(proven)
      this.#logIn = undefined
      this.#moveAccount(entered.info)
      this.#entered(entered)
      this.#openBackend(stream)
    } catch (reason) {
      this.fault(reason, stream)
      this.end('the backend did not open')
    }
  }

  /** What it holds is its own from now on. */
  #moveAccount({ identity, address }: ClientInfo): void {
    const unproved = this.account
    const { heldBytes } = unproved
    unproved.give(heldBytes)
    unproved.close()
    this.account = this.#options.budget.open(identity.key, addressBlock(address))
    this.account.add(heldBytes)
  }

  /** The client may answer again, as with Cassandra. */
  #notProved(reason: unknown, stream: number): void {
    if (this.state === 'verifying') this.#phase = 'authenticating'
    // The client is gone, or is to go.
    if (this.state !== 'authenticating') return
    const fault = cqlFault(reason)
    if (fault.ours) this.#log.error({ err: reason }, 'fault in a log-in')
    this.#outbox.send(errorEnvelope(this.#version, stream, fault.code, fault.message))
    if (fault.fatal) this.end(fault.message)
  }

  #entered({ info, refusal }: Entered): void {
    this.#refusal = refusal
    this.enter(info)
  }

  /** `stream` is that of STARTUP, or of the AUTH_RESPONSE that was accepted. */
  #openBackend(stream: number): void {
    const startup = this.#startupInfo
    assert(startup !== undefined, 'STARTUP came')
    this.#phase = 'opening'
    this.#handshakeStream = stream
    const advice = 'close connections or use another proxy'
    const open = this.#refusal === undefined ? this.#options.open : refusing(`${this.#refusal}; ${advice}`)
    this.backend = open(
      this,
      startup,
      () => this.#becomeReady(startup.version, stream),
      (reason) => {
        if (this.state !== 'opening') return
        this.fault(reason, stream)
        this.end('the backend did not open')
      },
    )
  }

  #becomeReady(version: ProtocolVersion, stream: number): void {
    if (this.state !== 'opening') return
    if (this.#isFramed) this.#outbox.send(authSuccessEnvelope(version, stream))
    else if (!this.#answerStartup(readyEnvelope(version, stream), stream)) return
    this.#phase = 'ready'
    clearTimeout(this.#handshakeTimer)
    this.#inbound.bodyBytesMax = limits.messageBytesMax
    this.#inbound.dropsTooLong = true
  }

  /** Both directions change their framing right after READY or AUTHENTICATE (native_protocol_v5.spec §2). False where that was the end. */
  #answerStartup(envelope: Buffer, stream: number): boolean {
    const lz4 = this.#lz4
    const isSegmented = this.#version >= 5
    try {
      if (isSegmented) this.#inbound.useSegments(lz4 ? 'lz4' : 'none')
    } catch (reason) {
      this.#inbound.faultStream = stream
      this.#refuseBytes(reason)
      return false
    }
    this.#isFramed = true
    this.#outbox.send(envelope)
    if (isSegmented) {
      this.#outbox.use(lz4 ? 'segments-lz4' : 'segments')
    } else if (lz4) {
      this.#inbound.useBodyCompression()
      this.#outbox.use('body-lz4')
    }
    return true
  }

  #at(stream: number, message: string): RingfenceError {
    this.#inbound.faultStream = stream
    return new RingfenceError('PROTOCOL', message)
  }

  #protocolError(stream: number, message: string): void {
    const envelope = errorEnvelope(
      this.#version,
      stream,
      cqlFault(new RingfenceError('PROTOCOL', message)).code,
      message,
    )
    this.#outbox.send(envelope)
    this.end(message)
  }

  #onClose(): void {
    this.#isOver = true
    clearTimeout(this.#handshakeTimer)
    clearTimeout(this.#roomTimer)
    this.#outbox.close()
    this.account.give(this.#largeBytes + this.#collectingBytes + this.#countedBytes)
    this.#largeBytes = this.#collectingBytes = this.#countedBytes = 0
    contain(this, 'the end of a client connection', () => this.over())
    this.#options.onClosed(this, this.reason)
  }
}
