/**
 * The life of a client, the same at every door by which one comes in. A door extends it, and adds how bytes come and go.
 *
 *   open ──its proof ends, the proxy stops──▶ open, leaving ──leaveMsMax──▶ draining ──nothing in flight, or drainMsMax──▶ closed
 *     │                                          └──a moment with nothing in flight───────────────────────────────────▶ closed
 *     ├──who it is is thrown out──▶ draining, for thrownOutMsMax at most ─────────────────────────────────────────────▶ closed
 *     └──────────── close, or a fault after which its bytes can't be trusted ───────────────────────────────────────▶ closed
 *
 *   request ─▶ serve ─▶ Backend ─▶ answer, event, fault ─▶ give (the door's)
 *
 * Rule: a client is served no longer than its proof. While it drains what is in flight is answered and what comes is refused, each request
 * once; it ends when all that came was answered. Where nothing but its proof ends it, what is in flight after `drainMsMax` has all the time that the
 * node may take for a request (`requestTimeoutMs`).
 */
import type { ByteAccount } from '../base/bytes-budget.ts'
import { after, containFault, containRest, nextTurn, nothingEnds, type Owner } from '../base/contained.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { errorEnvelope } from '../cql/encode.ts'
import { headerStream, type ProtocolVersion } from '../cql/protocol.ts'
import { type Revocation, revokedText } from '../identity/revoked/revocation.ts'
import type { CallerFacts } from '../identity/revoked/revocations.ts'
import type { Backend, Client, ClientInfo } from './backend.ts'
import { cqlFault } from './fault.ts'
import type { HostTurn } from './host-turn.ts'
import { leavesAfterMs } from './session-end.ts'
import type { Revocable } from './thrown-out.ts'

/** A client has sent nothing for so long: what it sends next has likely not been sent. */
const quietMs = 2
/** A longer answer is refused where there is no room for it; an error takes its place. */
export const smallAnswerBytes = 1024
/** What may wait of small answers beyond all bounds: a refusal for each stream. */
export const refusalsBytesMax = 8 * 1024 * 1024

/** Why nothing is read of a client: it does not take its answers, its account has no room, its backend says so, or it has had its share of a turn. */
export const PausedBy = { OUTBOX: 1, ACCOUNT: 2, BACKEND: 4, TURN: 8 } as const

/** What is refused needs no room, and no backend. */
const pausesDraining = PausedBy.OUTBOX | PausedBy.TURN

export interface LifeOptions {
  /** What the report of a fault calls it: `client connection`. */
  readonly door: string
  readonly account: ByteAccount
  readonly nowMs: () => number
  /** Of the host that the client came to. */
  readonly hostTurn?: (() => HostTurn | undefined) | undefined
}

export abstract class ClientLife<B extends Backend = Backend> implements Client, Owner, Revocable {
  account: ByteAccount
  /** Until the client is over; undefined before there is one. */
  protected backend: B | undefined
  readonly #options: LifeOptions
  #life: 'open' | 'draining' | 'closed' = 'open'
  #info: ClientInfo | undefined
  #inFlight = 0
  #pausedBy = 0
  #reason = 'closed by the client'
  /** How it ends, once it is known that it is to go; it ends by itself where it was told. */
  #going: 'no' | 'told' | 'untold' = 'no'
  /** Counts what it sends. */
  #heard = 0
  /** It ends without waiting for a pause. */
  #isLate = false
  /** Its proof is what ends it: nothing else hurries. */
  #isExpired = false
  /** What threw it out. */
  #thrownOutBy: Revocation | undefined
  /** Of the next step of its end: its proof's end, the end of what it may still ask, that of its drain. */
  #endTimer: NodeJS.Timeout | undefined
  #quietTimer: NodeJS.Timeout | undefined
  #lingerTimer: NodeJS.Timeout | undefined

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

  /** Tells the client that it is to go. False where it has not asked for that, or cannot be told. */
  protected tell(): boolean {
    return false
  }

  /** It is drained from now on. */
  protected onDrain(): void {}

  /** All that came was looked at, and all that was given has left. */
  protected get isSettled(): boolean {
    return true
  }

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

  /** It is to go, or is gone. */
  protected get isGoing(): boolean {
    return this.#going !== 'no'
  }

  /** To be called when something came that is no request for the backend. */
  protected heard(): void {
    this.#heard++
  }

  /**
   * It is known who the client is: its proof bounds its life. With `graceMs` another end is to end it first, and it is drained so much after its proof's
   * end.
   */
  protected enter(info: ClientInfo, graceMs?: number): void {
    this.#info = info
    const lifeMs = Math.max(Math.min(info.identity.expiresAtMs - this.#options.nowMs(), limits.sessionMsMax), 0)
    const reason = 'identity expired'
    if (graceMs !== undefined) {
      this.#endTimer = after(this, 'the end of a proof', lifeMs + graceMs, () => this.#expire(() => this.drain(reason)))
      return
    }
    const { hostTurn, nowMs } = this.#options
    const leaveMs = leavesAfterMs(lifeMs, Math.random(), hostTurn?.(), nowMs())
    this.#endTimer = after(this, 'the end of a proof', leaveMs, () =>
      this.#expire(() => this.leave(reason, lifeMs - leaveMs)),
    )
  }

  #expire(end: () => void): void {
    this.#isExpired = true
    end()
  }

  /** Gives one whole request to the backend, by `otherwise` where a door has another way to do so. What it throws is answered. */
  protected serve(buffer: Buffer, start: number, end: number, otherwise?: (backend: B) => void): void {
    const { backend } = this
    if (backend === undefined || this.#life === 'closed') return
    this.#inFlight++
    this.#heard++
    try {
      if (this.#life === 'draining' && !this.#isRefusedBehind) throw this.refusal()
      // Its type lets it be `async`.
      if (otherwise === undefined) containRest(this, 'a request', backend.request(buffer, start, end))
      else otherwise(backend)
    } catch (reason) {
      this.fault(reason, headerStream(buffer, start))
    }
  }

  /** A request came that is answered without the backend. */
  protected begun(): void {
    this.#inFlight++
    this.#heard++
  }

  /** What is refused of one that is thrown out, its backend records. */
  get #isRefusedBehind(): boolean {
    return this.#thrownOutBy !== undefined && this.backend?.throwOut !== undefined
  }

  /** Of what comes while it drains. */
  protected refusal(): RingfenceError {
    if (this.#thrownOutBy !== undefined) return new RingfenceError('UNAUTHORIZED', revokedText(this.#thrownOutBy.id))
    return new RingfenceError('LEAVING', `nothing was done, for this connection ends: ${this.#reason}`)
  }

  answer(buffer: Buffer, start: number, end: number, stream: number): void {
    if (this.#inFlight > 0) this.#inFlight--
    this.give(buffer, start, end, stream)
    if (this.#going !== 'no') this.look()
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
    // What it sent meanwhile is to be read first.
    if (why === PausedBy.OUTBOX) this.#lingers(false)
    this.#pausedBy |= this.#life === 'draining' ? why & pausesDraining : why
    if (before === 0 && this.#pausedBy !== 0 && this.#life !== 'closed') this.read(false)
  }

  protected resumeFrom(why: number): void {
    if ((this.#pausedBy & why) === 0) return
    this.#pausedBy &= ~why
    if (this.#pausedBy !== 0 || this.#life === 'closed') return
    this.read(true)
    if (this.#going !== 'no') this.look()
  }

  /**
   * It is to go. It is told, where it asked for that, and goes by itself. Else it is served until a moment comes in which nothing is in flight.
   * Where none comes it is drained, at the latest after `msMax`.
   */
  leave(reason: string, msMax = Number.POSITIVE_INFINITY): void {
    if (this.#life !== 'open' || this.#going !== 'no') return
    this.#reason = reason
    clearTimeout(this.#endTimer)
    this.#going = this.tell() ? 'told' : 'untold'
    const usualMs = this.#going === 'told' ? limits.leaveToldMsMax : limits.leaveMsMax
    this.#endTimer = after(this, 'the end of a leave', Math.min(usualMs, msMax), () => this.drain(reason))
    this.look()
  }

  /** Has no more requests served; ends when the last one in flight is answered, at most `drainMsMax` later or, where its proof ended, `requestTimeoutMs`. */
  drain(reason: string): void {
    if (this.#life !== 'open') return
    this.#reason = reason
    this.#life = 'draining'
    this.#going = 'untold'
    clearTimeout(this.#endTimer)
    this.#endTimer = after(this, 'the end of a drain', limits.drainMsMax, () => {
      if (!this.#isExpired || this.#inFlight === 0) this.destroy(reason)
      else {
        const restMs = limits.requestTimeoutMs - limits.drainMsMax
        this.#endTimer = after(this, 'the end of a drain', restMs, () => this.destroy(reason))
      }
    })
    this.onDrain()
    this.resumeFrom(~pausesDraining)
    this.look()
  }

  /** As `drain`, also where it is drained already, and over after `msMax`, whatever is in flight. */
  drainFor(reason: string, msMax: number): void {
    this.drain(reason)
    if (this.#life !== 'draining') return
    this.#reason = reason
    this.#isExpired = false
    clearTimeout(this.#endTimer)
    this.#endTimer = after(this, 'the end of who is thrown out', msMax, () => this.destroy(reason))
  }

  /** Part of `Revocable`. */
  get revocable(): CallerFacts | undefined {
    return this.#life === 'closed' ? undefined : this.#info?.identity
  }

  /** What it has in flight is answered for `thrownOutMsMax`, and what comes is refused. */
  throwOut(by: Revocation): void {
    if (this.#life === 'closed' || this.#thrownOutBy !== undefined) return
    const reason = revokedText(by.id)
    this.#thrownOutBy = by
    this.backend?.throwOut?.(by)
    this.drainFor(reason, limits.thrownOutMsMax)
  }

  /** A revocation ends it. */
  protected get isThrownOut(): boolean {
    return this.#thrownOutBy !== undefined
  }

  /** Of one that is to go: ends it where nothing is in flight and nothing comes. To be called whenever that may be so. */
  protected look(): void {
    if (this.#going !== 'untold' || this.#life === 'closed' || this.inFlight > 0) return
    if (this.#life === 'draining' && this.#isIdle()) this.#lingers(true)
    if (this.#quietTimer !== undefined) return
    const heard = this.#heard
    this.#quietTimer = after(this, 'a quiet moment', quietMs, () =>
      // What waits in the socket is read before the turn ends.
      nextTurn(this, 'a quiet moment', () => {
        this.#quietTimer = undefined
        if (this.#life === 'closed') return
        if ((this.#isLate || heard === this.#heard) && this.#isIdle()) this.close(this.#reason)
        else this.look()
      }),
    )
  }

  #lingers(lingers: boolean): void {
    if (!lingers) {
      clearTimeout(this.#lingerTimer)
      this.#lingerTimer = undefined
      this.#isLate = false
    } else {
      this.#lingerTimer ??= after(this, 'a client that sends on', limits.drainLingerMsMax, () => {
        this.#isLate = true
        this.look()
      })
    }
  }

  #isIdle(): boolean {
    return this.inFlight === 0 && this.#pausedBy === 0 && this.isSettled
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
    clearTimeout(this.#endTimer)
    clearTimeout(this.#quietTimer)
    clearTimeout(this.#lingerTimer)
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
