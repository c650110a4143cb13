/**
 * The client of a session that came by a mesh link. Its answers go to the gateway in turn with those of the link's other sessions, and it is paused
 * by asking the gateway to send nothing more of it.
 */
import { type ByteAccount, overloaded, Verdict } from '../base/bytes-budget.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { withoutAddressText } from '../cql/answers/addresses.ts'
import { errorEnvelope } from '../cql/encode.ts'
import type { Envelope } from '../cql/envelope.ts'
import { headerStream, headerVersion, type ProtocolVersion } from '../cql/protocol.ts'
import { type FairSender, SessionQueue } from '../link/fair-sender.ts'
import { type Close, Control } from '../link/protocol.ts'
import type { ClientInfo } from '../session/backend.ts'
import { ClientLife, refusalsBytesMax, smallAnswerBytes } from '../session/client-life.ts'
import { cqlFault } from '../session/fault.ts'
import type { Leave } from '../session/places.ts'
import type { EnforcedSession } from './session.ts'

/** The gateway ends the session at its client's expiry; so much later a gateway that does not is stopped here. */
const expiryGraceMs = 1000

const anyPause = ~0

/** What a session's client needs of its link. */
export interface ClientLink {
  /** The way to the gateway for everything but what is about the link or a session. */
  readonly sender: FairSender
  /** The session is over here; the gateway is told behind the answers that wait. */
  drop(number: number, reason: Close): void
  /** `control` is PAUSE or RESUME: the gateway is to send nothing more of the session, or goes on. */
  tell(number: number, control: number): void
}

export interface LinkedClientOptions {
  readonly link: ClientLink
  /** Of the session on its link. */
  readonly number: number
  readonly info: ClientInfo
  readonly account: ByteAccount
  readonly version: ProtocolVersion
}

export class LinkedClient extends ClientLife<EnforcedSession> {
  readonly version: ProtocolVersion
  /** Its answers that wait. */
  readonly queue: SessionQueue
  readonly #link: ClientLink
  readonly #number: number
  #leave: Leave = () => {}
  /** For the next request. */
  #given: Buffer | undefined

  constructor({ link, number, info, account, version }: LinkedClientOptions) {
    super({ door: 'linked session', account, nowMs: Date.now })
    this.#link = link
    this.#number = number
    this.queue = new SessionQueue(number, (bytes) => {
      account.give(bytes)
      this.look()
    })
    this.version = version
    this.enter(info, expiryGraceMs)
  }

  /** `leave` gives its place back when it is over. */
  takePlace(leave: Leave): void {
    this.#leave = leave
  }

  begin(session: EnforcedSession): void {
    this.backend = session
  }

  /** Connects the session to the node. */
  async open(): Promise<void> {
    await this.backend?.open()
  }

  request(buffer: Buffer, start: number, end: number): void {
    const given = this.#given
    this.#given = undefined
    if (headerVersion(buffer, start) !== this.version) {
      this.fault(new RingfenceError('PROTOCOL', 'the version changed'), headerStream(buffer, start))
    } else if (given === undefined) this.serve(buffer, start, end)
    else this.#serveGiven(given, { bytes: buffer, start, end })
  }

  /** Apart, for what a closure refers to is made where its function begins, whether the closure is made or not. */
  #serveGiven(given: Buffer, { bytes, start, end }: Envelope): void {
    this.serve(bytes, start, end, (session) => session.requestGiven(given, bytes, start, end))
  }

  /** There was no room for the request. */
  refuse(stream: number): void {
    this.#given = undefined
    this.begun()
    this.fault(overloaded(), stream)
  }

  /** What the next request is answered with, if it is permitted. */
  given(answer: string): void {
    this.#given = Buffer.from(answer, 'base64')
  }

  /** The gateway or the link is gone. */
  abandon(): void {
    try {
      this.over()
    } finally {
      this.#leave()
    }
  }

  protected give(buffer: Buffer, start: number, end: number, stream: number): void {
    if (this.backend === undefined) return
    const { sender } = this.#link
    if (sender.mustWait(this.queue, end - start)) this.#wait(buffer, start, end, stream)
    else sender.write(this.queue, buffer, start, end, stream)
  }

  /** The gateway is asked for no more; what is on its way is refused. */
  protected override onDrain(): void {
    if (!this.isPausedBy(anyPause)) this.#link.tell(this.#number, Control.PAUSE)
  }

  /** What the gateway has not taken yet would be lost with the session. */
  protected override get isSettled(): boolean {
    return this.queue.waitingBytes === 0
  }

  protected read(on: boolean): void {
    if (this.life === 'open') this.#link.tell(this.#number, on ? Control.RESUME : Control.PAUSE)
  }

  protected finish(reason: string): void {
    // The gateway tells its client, who is to know no address of a node.
    // Of one that is thrown out it ends its client's connection: every other sidecar would say the same.
    const code = this.isThrownOut ? 'UNAUTHORIZED' : 'UPSTREAM'
    this.#link.drop(this.#number, { code, message: withoutAddressText(reason) })
    this.abandon()
  }

  /** The client is paused first, then refused, then closed. */
  #wait(buffer: Buffer, start: number, end: number, stream: number): void {
    const { account } = this
    const bytes = end - start
    const verdict = account.take(bytes)
    if (verdict === Verdict.REFUSE) {
      if (bytes > smallAnswerBytes) {
        const { code, message } = cqlFault(overloaded())
        const envelope = errorEnvelope(this.version, stream, code, message)
        this.give(envelope, 0, envelope.length, stream)
        return
      }
      if (account.heldBytes > limits.connectionWaitingBytesMax + refusalsBytesMax) {
        this.close('connectionWaitingBytesMax reached')
        return
      }
      account.add(bytes)
    }
    this.#link.sender.enqueue(this.queue, buffer, start, end, stream)
    if (verdict !== Verdict.OK) this.pause()
  }
}
