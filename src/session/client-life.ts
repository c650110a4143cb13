/**
 * The life of a client, the same at every door by which one comes in. A door extends it, and adds how bytes come and go.
 *
 *   open ──its proof expired, the proxy stops──▶ draining ──the last answer, or drainMsMax──▶ closed
 *     └──────────── close, or a fault after which its bytes can't be trusted ─────────────────▶ closed
 *
 *   request ─▶ serve ─▶ Backend ─▶ answer, event, fault ─▶ give (the door's)
 *
 * Rule: a client lives no longer than its proof. While it drains nothing is served, and what is in flight is answered.
 */
import type { ByteAccount } from '../base/bytes-budget.ts'
import { after, containFault, nothingEnds, type Owner } from '../base/contained.ts'
import { assert } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { errorEnvelope } from '../cql/encode.ts'
import { headerStream, type ProtocolVersion } from '../cql/protocol.ts'
import type { Backend, Client, ClientInfo } from './backend.ts'
import { cqlFault } from './fault.ts'

/** For what is in flight, and for what is on its way, when nothing more is read. */
export const drainMsMax = 30_000
/** A longer answer is refused where there is no room for it; an error takes its place. */
export const smallAnswerBytes = 1024
/** What may wait of small answers beyond all bounds: a refusal for each stream. */
export const refusalsBytesMax = 8 * 1024 * 1024

/** Why nothing is read of a client: it does not take its answers, its account has no room, its backend says so, or it has had its share of a turn. */
export const PausedBy = { OUTBOX: 1, ACCOUNT: 2, BACKEND: 4, TURN: 8 } as const

export interface LifeOptions {
  /** What the report of a fault calls it: `client connection`. */
  readonly door: string
  readonly account: ByteAccount
  readonly nowMs: () => number
}

export abstract class ClientLife<B extends Backend = Backend> implements Client, Owner {
  account: ByteAccount
  /** Until the client is over; undefined before there is one. */
  protected backend: B | undefined
  readonly #options: LifeOptions
  #life: 'open' | 'draining' | 'closed' = 'open'
  #info: ClientInfo | undefined
  #inFlight = 0
  #pausedBy = 0
  #reason = 'closed by the client'
  #expiryTimer: NodeJS.Timeout | undefined
  #drainTimer: NodeJS.Timeout | undefined

  constructor(options: LifeOptions) {
    this.#options = options
    this.account = options.account
  }

  // --- what a door adds

  abstract get version(): ProtocolVersion
  /** Sends one answer, a copy; stream −1 is an event. An error takes its place where there is no room. */
  protected abstract give(buffer: Buffer, start: number, end: number, stream: number): void
  /** Reads nothing more of the client, or goes on. */
  protected abstract read(on: boolean): void
  /** Sends what waits, then ends; called once. `over` follows, now or when the other end has closed. */
  protected abstract finish(reason: string): void

  /** Ends at once, whatever waits. */
  protected cut(): void {
    this.close(this.#reason)
  }

  // --- what is the same at every door

  /** Not before it is known who the client is. */
  get info(): ClientInfo {
    assert(this.#info !== undefined, 'it is known who the client is')
    return this.#info
  }

  /** For the log; undefined while nobody knows. */
  get subject(): string | undefined {
    return this.#info?.identity.subject
  }

  get life(): 'open' | 'draining' | 'closed' {
    return this.#life
  }

  /** Why it ended, or is about to. */
  get reason(): string {
    return this.#reason
  }

  /** Requests that wait for their answer. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** It is known who the client is: its proof bounds its life, `graceMs` later where another end is to end it first. */
  protected enter(info: ClientInfo, graceMs = 0): void {
    this.#info = info
    const lifeMs = Math.min(info.identity.expiresAtMs - this.#options.nowMs(), limits.sessionMsMax)
    this.#expiryTimer = after(this, 'the end of a proof', Math.max(lifeMs, 0) + graceMs, () =>
      this.drain('identity expired'),
    )
  }

  /** Gives one whole request to the backend, by `otherwise` where a door has another way to do so. What it throws is answered. */
  protected serve(buffer: Buffer, start: number, end: number, otherwise?: (backend: B) => void): void {
    const { backend } = this
    if (backend === undefined || this.#life !== 'open') return
    this.#inFlight++
    try {
      if (otherwise === undefined) backend.request(buffer, start, end)
      else otherwise(backend)
    } catch (reason) {
      this.fault(reason, headerStream(buffer, start))
    }
  }

  /** A request came that is answered without the backend. */
  protected begun(): void {
    this.#inFlight++
  }

  answer(buffer: Buffer, start: number, end: number, stream: number): void {
    if (this.#inFlight > 0) this.#inFlight--
    this.give(buffer, start, end, stream)
    if (this.#life === 'draining' && this.inFlight === 0) this.end(this.#reason)
  }

  event(buffer: Buffer, start: number, end: number): void {
    if (this.#life === 'open') this.give(buffer, start, end, -1)
  }

  fault(reason: unknown, stream: number): void {
    const fault = cqlFault(reason)
    if (fault.ours) containFault(nothingEnds, `a request of a ${this.#options.door}`, reason)
    const envelope = errorEnvelope(this.version, stream, fault.code, fault.message)
    this.answer(envelope, 0, envelope.length, stream)
    if (fault.fatal) this.end(fault.message)
  }

  pause(): void {
    if ((this.#pausedBy & PausedBy.ACCOUNT) !== 0 || this.#life !== 'open') return
    this.pauseFor(PausedBy.ACCOUNT)
    this.account.whenRoom(0, () => this.resumeFrom(PausedBy.ACCOUNT))
  }

  halt(halted: boolean): void {
    if (halted) this.pauseFor(PausedBy.BACKEND)
    else this.resumeFrom(PausedBy.BACKEND)
  }

  protected isPausedBy(why: number): boolean {
    return (this.#pausedBy & why) !== 0
  }

  protected pauseFor(why: number): void {
    const before = this.#pausedBy
    this.#pausedBy |= why
    if (before === 0) this.read(false)
  }

  protected resumeFrom(why: number): void {
    if ((this.#pausedBy & why) === 0) return
    this.#pausedBy &= ~why
    if (this.#pausedBy === 0 && this.#life === 'open') this.read(true)
  }

  /** Takes no more requests; closes when the last one in flight is answered, at most 30 s later. */
  drain(reason: string): void {
    if (this.#life !== 'open') return
    if (this.inFlight === 0) {
      this.close(reason)
      return
    }
    this.#reason = reason
    this.#life = 'draining'
    this.read(false)
    this.#drainTimer = after(this, 'the end of a drain', drainMsMax, () => this.destroy(reason))
  }

  close(reason: string): void {
    this.end(reason)
  }

  /** As `close`, where whoever waits for an answer has one. */
  protected end(reason: string): void {
    if (this.#life === 'closed') return
    this.#reason = reason
    this.#life = 'closed'
    this.finish(reason)
  }

  /** Without waiting for what is in flight, or on its way. */
  destroy(reason: string): void {
    if (this.#life !== 'closed') this.#reason = reason
    this.cut()
  }

  /** A fault of ours, in a callback. It was logged. */
  onFault(): void {
    this.destroy('internal error in the mesh')
  }

  /** To be called by the door when the other end is gone, or nothing more will leave. */
  protected over(): void {
    this.#life = 'closed'
    clearTimeout(this.#expiryTimer)
    clearTimeout(this.#drainTimer)
    this.account.close()
    const { backend } = this
    this.backend = undefined
    backend?.close()
  }

  /** For a failure before the connection closed by itself. */
  protected because(reason: string): void {
    this.#reason = reason
  }
}
