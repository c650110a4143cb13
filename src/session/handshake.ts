/**
 * How a driver's connection becomes ready:
 *
 *   startup ──STARTUP──▶ opening ──the backend is ready──▶ ready
 *      │                    ▲
 *      └──▶ authenticating ─┴─ where the connection does not show who is there; `verifying` while what the client answered is looked at
 *
 * Rule: until it is ready a client may send few bytes, few OPTIONS, and what its state waits for.
 */
import { type Owner, settle } from '../base/contained.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { authChallengeEnvelope, authenticateEnvelope, authSuccessEnvelope, readyEnvelope } from '../cql/encode.ts'
import type { Envelope } from '../cql/envelope.ts'
import type { Inbound } from '../cql/inbound.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { readAuthResponse } from '../cql/requests.ts'
import { LogInRefused } from '../identity/refusal.ts'
import type { StartupInfo } from './backend.ts'
import type { Entered, LogIn, Proven } from './log-in.ts'
import type { Outbox } from './outbox.ts'
import { driverKind, startupRefusalCode } from './refusals.ts'
import { type Startup, startupOf } from './startup.ts'

/** OPTIONS before STARTUP, as a health check might send them. */
const earlyOptionsMax = 32

export type Phase = 'startup' | 'authenticating' | 'verifying' | 'opening' | 'ready'

/** The connection. */
export interface Handshaking extends Owner {
  readonly version: ProtocolVersion
  readonly life: 'open' | 'draining' | 'closed'
  /** It is known who the client is. */
  known(entered: Entered): void
  openBackend(startup: StartupInfo, ready: () => void, failed: (reason: unknown) => void): void
  notOpened(reason: unknown, stream: number): void
  onReady(): void
  /** Answers with an error, and ends where nothing more can be believed. */
  fault(reason: unknown, stream: number): void
  /** Ends it; who waits for an answer to its handshake hears why, unless it is not to. */
  close(reason: string): void
  /** Answers with an error, then ends. */
  refuse(reason: unknown, stream: number): void
}

export class Handshake {
  readonly #client: Handshaking
  readonly #inbound: Inbound
  readonly #outbox: Outbox
  #phase: Phase = 'startup'
  #logIn: LogIn | undefined
  #startup: Startup | undefined
  /** Of the STARTUP or AUTH_RESPONSE that is not answered yet. */
  #stream = 0
  #bytes = 0
  #options = 0
  /** The framing of after the handshake is in use: from READY, or from AUTHENTICATE. */
  #isFramed = false
  /** The client was asked who it is. */
  #wasAsked = false
  /** When its proof ends; `Infinity` where it does not, or is not known. */
  #proofEndsMs = Number.POSITIVE_INFINITY

  constructor(client: Handshaking, inbound: Inbound, outbox: Outbox, logIn: LogIn | undefined) {
    this.#client = client
    this.#inbound = inbound
    this.#outbox = outbox
    this.#logIn = logIn
  }

  get phase(): Phase {
    return this.#phase
  }

  /** The stream that waits for an answer, −1 for none. */
  get waitingStream(): number {
    return this.#phase === 'opening' || this.#phase === 'verifying' ? this.#stream : -1
  }

  /** It was asked who it is, and an ERROR would keep its driver away for good. */
  get isDelicate(): boolean {
    return this.#wasAsked && driverKind(this.#startup?.info.driverName) === 'python'
  }

  /** So long it may take. */
  get msMax(): number {
    return this.#logIn?.msMax ?? limits.handshakeTimeoutMs
  }

  /** The client is gone. */
  over(): void {
    this.#logIn?.over()
  }

  /** Whether so many bytes more may come. */
  mayCome(bytes: number): boolean {
    this.#bytes += bytes
    return this.#bytes <= limits.unauthenticatedBytesMax
  }

  /** @throws RingfenceError PROTOCOL */
  countOptions(): void {
    if (++this.#options > earlyOptionsMax) throw new RingfenceError('PROTOCOL', 'too many OPTIONS before STARTUP')
  }

  /** @throws RingfenceError PROTOCOL */
  startup(envelope: Envelope, stream: number): void {
    if (this.#phase !== 'startup') {
      this.#client.refuse(new RingfenceError('PROTOCOL', 'unexpected STARTUP on an open connection'), stream)
      return
    }
    const { version } = this.#client
    this.#inbound.faultStream = stream
    this.#startup = startupOf(envelope, version)
    this.#inbound.faultStream = 0
    if (this.#logIn === undefined) {
      this.#open(stream)
      return
    }
    const unavailable = this.#logIn.unavailable()
    if (unavailable !== undefined) {
      const { driverName } = this.#startup.info
      if (this.#logIn.refused(unavailable, driverName)?.kind === 'closes') {
        this.#client.close('log-in refused')
        return
      }
      const { words = 'log-in refused' } = unavailable
      this.#client.refuse(new RingfenceError(startupRefusalCode(driverName), words), stream)
      return
    }
    this.#phase = 'authenticating'
    this.#wasAsked = true
    this.#answerStartup(authenticateEnvelope(version, stream, this.#logIn.className), stream)
  }

  /** @throws RingfenceError PROTOCOL */
  authResponse(envelope: Envelope, stream: number): void {
    if (this.#phase !== 'authenticating' || this.#logIn === undefined) {
      this.#client.refuse(new RingfenceError('PROTOCOL', 'unexpected AUTH_RESPONSE'), stream)
      return
    }
    const { version } = this.#client
    this.#inbound.faultStream = stream
    const token = readAuthResponse(envelope, version)
    this.#inbound.faultStream = 0
    try {
      // What it becomes is kept longer than the envelope.
      const step = this.#logIn.answer(Buffer.from(token ?? []))
      if (Buffer.isBuffer(step)) {
        this.#outbox.send(authChallengeEnvelope(version, stream, step))
        return
      }
      this.#phase = 'verifying'
      this.#stream = stream
      if (step instanceof Promise) {
        settle(
          this.#client,
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
    if (!this.#isIn('verifying') || this.#logIn === undefined) return
    this.#phase = 'opening'
    try {
      const entered = this.#logIn.enter(proven)
      this.#proofEndsMs = proven.identity.expiresAtMs
      this.#client.known(entered)
      this.#open(stream)
    } catch (reason) {
      this.#notOpened(reason, stream)
    }
  }

  /** The client may answer again, as with Cassandra. */
  #notProved(reason: unknown, stream: number): void {
    if (this.#phase === 'verifying') this.#phase = 'authenticating'
    // Else the client is gone, or is to go.
    if (!this.#isIn('authenticating')) return
    const answer = this.#logIn?.refused(reason, this.#startup?.info.driverName)
    if (answer?.kind === 'closes') this.#client.close('log-in refused')
    else if (answer?.ends === true) this.#client.refuse(answer.error, stream)
    else this.#client.fault(answer?.error ?? reason, stream)
  }

  /** `stream` is that of STARTUP, or of the AUTH_RESPONSE that was accepted. */
  #open(stream: number): void {
    assert(this.#startup !== undefined, 'STARTUP came')
    this.#phase = 'opening'
    this.#stream = stream
    this.#client.openBackend(
      this.#startup.info,
      () => this.#becomeReady(stream),
      (reason) => {
        if (this.#isIn('opening')) this.#notOpened(reason, stream)
      },
    )
  }

  /** What it showed may be refused behind this process: then it hears of that what it would hear if that were here. */
  #notOpened(reason: unknown, stream: number): void {
    const isOfProof = reason instanceof LogInRefused
    const answer = isOfProof ? this.#logIn?.refused(reason, this.#startup?.info.driverName) : undefined
    // Whom its connection shows hears it in answer to STARTUP, by an error after which every driver tries again.
    if (answer === undefined)
      this.#client.notOpened(isOfProof ? new RingfenceError('UNAVAILABLE', reason.message) : reason, stream)
    else if (answer.kind === 'error') this.#client.refuse(answer.error, stream)
    else {
      // Nothing waits that would be answered.
      this.#phase = 'authenticating'
      this.#client.close('log-in refused')
    }
  }

  #becomeReady(stream: number): void {
    if (!this.#isIn('opening')) return
    const { version } = this.#client
    if (this.#isFramed) this.#outbox.send(authSuccessEnvelope(version, stream, this.#endOfProof()))
    else if (!this.#answerStartup(readyEnvelope(version, stream), stream)) return
    this.#phase = 'ready'
    this.#logIn?.opened()
    this.#logIn = undefined
    this.#inbound.bodyBytesMax = limits.messageBytesMax
    this.#inbound.dropsTooLong = true
    this.#client.onReady()
  }

  /** For an authenticator that reads it: when this session will end. */
  #endOfProof(): Buffer | null {
    const seconds = Math.floor(this.#proofEndsMs / 1000)
    return Number.isFinite(seconds) ? Buffer.from(`exp=${seconds}`) : null
  }

  /** Both directions change their framing right after READY or AUTHENTICATE (native_protocol_v5.spec §2). False where that was the end. */
  #answerStartup(envelope: Buffer, stream: number): boolean {
    const lz4 = this.#startup?.lz4 === true
    const isSegmented = this.#client.version >= 5
    try {
      if (isSegmented) this.#inbound.useSegments(lz4 ? 'lz4' : 'none')
    } catch (reason) {
      this.#client.refuse(reason, stream)
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

  #isIn(phase: Phase): boolean {
    return this.#phase === phase && this.#client.life === 'open'
  }
}
