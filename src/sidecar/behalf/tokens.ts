/**
 * The transaction tokens that this sidecar was shown, by their hash: on whose behalf they are, or why they count for nothing.
 *
 * Rule: what was found out is remembered only while the control plane's keys stay as they are, and no longer than the token lives.
 */
import { type Cache, createCache, createWeighedCache } from '../../base/cache.ts'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { KeyRing, type PublicJwk } from '../../identity/jwt/keys.ts'
import { LogInRefused } from '../../identity/refusal.ts'
import { type TxnToken, verifyTxnToken } from '../../identity/txn/token.ts'

/** It is looked at anew then: a key may have come, or its time. */
const refusedMs = 1_000

export interface KnownToken {
  readonly kind: 'good'
  readonly token: TxnToken
  readonly bytes: number
}

export interface RefusedToken {
  readonly kind: 'refused'
  /** For the client and the record. */
  readonly text: string
  readonly untilMs: number
}

export class TxnTokens {
  readonly #trustDomain: () => string
  readonly #known: Cache<KnownToken> = createWeighedCache(limits.txnTokensRememberedBytesMax, ({ bytes }) => bytes)
  readonly #refused: Cache<RefusedToken> = createCache(limits.txnTokensRefusedRememberedMax)
  #ring = KeyRing.none
  /** Another with each set of keys. */
  generation = 0

  constructor(trustDomain: () => string) {
    this.#trustDomain = trustDomain
  }

  get ring(): KeyRing {
    return this.#ring
  }

  setKeys(keys: readonly PublicJwk[]): void {
    this.#ring = new KeyRing(keys)
    this.generation++
    this.#known.clear()
    this.#refused.clear()
  }

  /** Undefined where it has to be verified first. */
  find(digest: string, nowMs: number): KnownToken | RefusedToken | undefined {
    const known = this.#known.get(digest)
    if (known !== undefined) return nowMs < known.token.expiresAtMs ? known : expired(nowMs)
    const refused = this.#refused.get(digest)
    return refused !== undefined && nowMs < refused.untilMs ? refused : undefined
  }

  /** On a thread of the pool; `find` knows then. Rejects by a fault of ours only. */
  async verify(text: string, digest: string, nowMs: number): Promise<void> {
    const { generation } = this
    try {
      const token = await verifyTxnToken(text, this.#ring, this.#trustDomain(), nowMs)
      if (generation === this.generation) this.#known.set(digest, { kind: 'good', token, bytes: text.length })
    } catch (reason) {
      if (!(reason instanceof RingfenceError) || reason.code !== 'IDENTITY') throw reason
      const words = (reason instanceof LogInRefused ? reason.words : undefined) ?? reason.message
      const refused: RefusedToken = { kind: 'refused', text: words, untilMs: nowMs + refusedMs }
      if (generation === this.generation) this.#refused.set(digest, refused)
    }
  }
}

function expired(nowMs: number): RefusedToken {
  return { kind: 'refused', text: 'the token has expired; get a new one', untilMs: nowMs }
}
