/**
 * The log-in of a client whose connection does not show who it is: AUTHENTICATE names a class, and what the client answers becomes evidence.
 *
 *   AUTH_RESPONSE ─▶ Conversation ─┬─▶ AUTH_CHALLENGE, and on
 *                                  └─▶ evidence ─▶ Proofs.verify ─▶ enter ─▶ a place, or the reason why there is none
 *
 * Rule: what a client hears of a refusal is for `refusals.ts` to say; the log and the record have the reason, and never the evidence.
 */
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { proofs } from '../identity/proofs/index.ts'
import type { Connected, Evidence, ProofCheck } from '../identity/proofs/proof.ts'
import { type AskingProof, Conversation } from '../identity/proofs/registry.ts'
import { LogInRefused } from '../identity/refusal.ts'
import type { VerifiedIdentity } from '../identity/verified.ts'
import type { ClientInfo } from './backend.ts'
import type { LogInRefusals, RefusalAnswer, RefusalMode } from './refusals.ts'
import { refuseAsGoodAsOver } from './session-end.ts'

/** Whose account a client is on while nobody knows who it is. No identity has this name. */
export const unprovedKey = ''

/** Drivers send STARTUP as soon as TLS is done. */
const refusedMsMax = 3_000

/** It is known who is there. */
export interface Entered {
  readonly info: ClientInfo
  /** Why there is no place for it: to be told in words, then to be closed. */
  readonly refusal: string | undefined
}

export interface Proven {
  readonly identity: VerifiedIdentity
  readonly evidence: Evidence
}

export interface LogInOptions {
  /** All of one class name; none only where the client is `refusedBefore`. */
  readonly asked: readonly AskingProof[]
  readonly connection: Connected
  readonly address: string
  readonly port: number
  /** As `Refused.listener`. */
  readonly listener: string
  readonly check: () => ProofCheck
  /** To be called at once for what was proved, while the client is there. */
  readonly enter: (proven: Proven) => Entered
  /** What is wrong with what the connection itself shows: the client is told in answer to STARTUP, and is not asked. */
  readonly refusedBefore?: LogInRefused
  readonly refusals: LogInRefusals
  readonly refusal: RefusalMode
}

export class LogIn {
  readonly className: string
  readonly #options: LogInOptions
  #conversation: Conversation
  #answers = 0
  /** What is wrong with what its connection shows was told, and written down. */
  #isTold = false
  /** Whom the last answer claims to be about. */
  #claimed: string | undefined

  constructor(options: LogInOptions) {
    this.#options = options
    this.className = options.asked[0]?.asks.className ?? ''
    this.#conversation = new Conversation(options.asked, options.connection)
  }

  /**
   * A Buffer is the next AUTH_CHALLENGE. After a refusal the client may begin anew.
   * @throws RingfenceError IDENTITY or CREDENTIALS, now or later; PROTOCOL after too many answers
   */
  answer(token: Buffer): Buffer | Proven | Promise<Proven> {
    this.#claimed = undefined
    if (++this.#answers > limits.authResponsesMax) throw new RingfenceError('PROTOCOL', 'authResponsesMax reached')
    try {
      const step = this.#conversation.answer(token)
      if (Buffer.isBuffer(step)) return step
      this.#begin()
      this.#claimed = step.claimed
      this.#options.refusals.beforeAttempt(this.#options.address, step.claimed)
      const identity = proofs.verify(step, this.#options.check())
      if (!(identity instanceof Promise)) return this.#lasting(identity, step)
      return identity.then((late) => this.#lasting(late, step))
    } catch (reason) {
      this.#begin()
      throw reason
    }
  }

  #lasting(identity: VerifiedIdentity, evidence: Evidence): Proven {
    refuseAsGoodAsOver(identity, this.#options.check().nowMs)
    return { identity, evidence }
  }

  /** Why this client cannot log in now, whatever it would answer; undefined where it may try. */
  unavailable(): LogInRefused | undefined {
    const { asked, check, refusedBefore } = this.#options
    if (refusedBefore !== undefined) return refusedBefore
    const now = check()
    const reasons = asked.map(({ asks }) => asks.unavailable?.(now))
    const [first] = reasons
    return reasons.includes(undefined) || first === undefined
      ? undefined
      : new LogInRefused('no-keys', first, { words: first })
  }

  /** What a client is told that could not be verified. Undefined where it is no refusal. */
  refused(reason: unknown, driverName: string | undefined): RefusalAnswer | undefined {
    if (!(reason instanceof RingfenceError) || (reason.code !== 'IDENTITY' && reason.code !== 'CREDENTIALS'))
      return undefined
    const { address, port, listener, refusals, refusal, refusedBefore } = this.#options
    const isOfConnection = reason === refusedBefore
    this.#isTold ||= isOfConnection
    const from = { address, port, listener, driverName }
    return refusals.answer(refusal, { ...from, reason, claimed: this.#claimed, isOfConnection })
  }

  enter(proven: Proven): Entered {
    return this.#options.enter(proven)
  }

  /** It has its session. */
  opened(): void {
    const { address, refusals } = this.#options
    if (this.#claimed !== undefined) refusals.entered(address, this.#claimed)
  }

  /** So long it may take until it is ready. Who is refused already has nothing to do but to ask. */
  get msMax(): number {
    return this.#options.refusedBefore === undefined ? limits.handshakeTimeoutMs : refusedMsMax
  }

  /** It is gone. What is wrong with what its connection shows is written down, whether it asked or not. */
  over(): void {
    const { refusedBefore } = this.#options
    if (refusedBefore !== undefined && !this.#isTold) this.refused(refusedBefore, undefined)
  }

  #begin(): void {
    this.#conversation = new Conversation(this.#options.asked, this.#options.connection)
  }
}
