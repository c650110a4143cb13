/**
 * The log-in of a client whose connection does not show who it is: AUTHENTICATE names a class, and what the client answers becomes evidence.
 *
 *   AUTH_RESPONSE ─▶ Conversation ─┬─▶ AUTH_CHALLENGE, and on
 *                                  └─▶ evidence ─▶ Proofs.verify ─▶ enter ─▶ a place, or the reason why there is none
 *
 * Rule: a client hears that it is refused, not why, unless the proof has words for it; the log has the reason, and never the evidence.
 */
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { proofs } from '../identity/proofs/index.ts'
import type { Evidence, ProofCheck } from '../identity/proofs/proof.ts'
import { type AskingProof, Conversation } from '../identity/proofs/registry.ts'
import type { VerifiedIdentity } from '../identity/verified.ts'
import type { Logger } from '../telemetry/log.ts'
import type { ClientInfo } from './backend.ts'

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
  /** At least one; all of one class name. */
  readonly asked: readonly AskingProof[]
  readonly address: string
  readonly check: () => ProofCheck
  /** To be called at once for what was proved, while the client is there. */
  readonly enter: (proven: Proven) => Entered
  readonly log: Logger
}

export class LogIn {
  readonly className: string
  readonly #options: LogInOptions
  #conversation: Conversation
  #answers = 0

  constructor(options: LogInOptions) {
    this.#options = options
    this.className = options.asked[0]?.asks.className ?? ''
    this.#conversation = new Conversation(options.asked)
  }

  /**
   * A Buffer is the next AUTH_CHALLENGE. After a refusal the client may begin anew.
   * @throws RingfenceError CREDENTIALS, now or later; PROTOCOL after too many answers
   */
  answer(token: Buffer): Buffer | Proven | Promise<Proven> {
    if (++this.#answers > limits.authResponsesMax) throw new RingfenceError('PROTOCOL', 'authResponsesMax reached')
    try {
      const step = this.#conversation.answer(token)
      if (Buffer.isBuffer(step)) return step
      this.#begin()
      const identity = proofs.verify(step, this.#options.check())
      if (!(identity instanceof Promise)) return { identity, evidence: step }
      return identity.then(
        (late) => ({ identity: late, evidence: step }),
        (reason: unknown) => {
          throw this.#refusal(reason)
        },
      )
    } catch (reason) {
      this.#begin()
      throw this.#refusal(reason)
    }
  }

  enter(proven: Proven): Entered {
    return this.#options.enter(proven)
  }

  #begin(): void {
    this.#conversation = new Conversation(this.#options.asked)
  }

  #refusal(reason: unknown): unknown {
    const { address, log } = this.#options
    if (!(reason instanceof RingfenceError)) return reason
    log.warn({ peer: address, reason: reason.message }, 'log-in refused')
    return reason.code === 'IDENTITY'
      ? new RingfenceError('CREDENTIALS', 'these credentials are not accepted here')
      : reason
  }
}
