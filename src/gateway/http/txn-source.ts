/**
 * Transaction tokens for the applications behind NGINX: asked for at the control plane with the person's own token, and used for all requests of that
 * person to that application while they have a minute left.
 */
import { type Cache, createWeighedCache } from '../../base/cache.ts'
import { sha256Hex } from '../../base/digest.ts'
import { limits } from '../../base/limits.ts'
import type { MadeTxnToken } from '../../mesh/transaction-tokens.ts'

/** What is left of one that is handed out, at least; an application's request has come to its statement by then. */
const leftMsMin = 60_000
/** Of one without its text, about. */
const madeBytes = 512

export type AskForTxn = (order: { readonly token: string; readonly workload: string }) => Promise<MadeTxnToken>

export class TxnSource {
  readonly #ask: AskForTxn
  readonly #nowMs: () => number
  readonly #made: Cache<MadeTxnToken> = createWeighedCache(
    limits.httpSessionsBytesMax,
    ({ token }) => madeBytes + token.length,
  )
  /** Asked for, and not here yet. */
  readonly #asked = new Map<string, Promise<MadeTxnToken>>()

  constructor(ask: AskForTxn, nowMs: () => number) {
    this.#ask = ask
    this.#nowMs = nowMs
  }

  /** @param token the person's, which was verified here. @throws RingfenceError, later */
  async tokenFor(token: string, workload: string): Promise<MadeTxnToken> {
    const key = `${sha256Hex(token)} ${workload}`
    const known = this.#made.get(key)
    if (known !== undefined && known.expiresAtMs - this.#nowMs() >= leftMsMin) return known
    const asked = this.#asked.get(key) ?? this.#askFor(key, token, workload)
    return await asked
  }

  #askFor(key: string, token: string, workload: string): Promise<MadeTxnToken> {
    const asked = this.#asking(key, token, workload)
    this.#asked.set(key, asked)
    return asked
  }

  async #asking(key: string, token: string, workload: string): Promise<MadeTxnToken> {
    try {
      const made = await this.#ask({ token, workload })
      this.#made.set(key, made)
      return made
    } finally {
      this.#asked.delete(key)
    }
  }
}
