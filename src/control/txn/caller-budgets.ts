/** How many transaction tokens one caller is made, so that a loop somewhere does not take what others' renewals need. */
import { TokenBucket } from '../../base/bucket.ts'
import { createCache } from '../../base/cache.ts'
import type { Clock } from '../../base/clock.ts'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'

const callersMax = 10_000

export class CallerBudgets {
  readonly #clock: Clock
  readonly #buckets = createCache<TokenBucket>(callersMax)

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @throws RingfenceError OVERLOADED */
  take(caller: string): void {
    const { txnTokensPerCallerBurstMax, txnTokensPerCallerPerSecondMax } = limits
    const bucket =
      this.#buckets.get(caller) ?? new TokenBucket(txnTokensPerCallerBurstMax, txnTokensPerCallerPerSecondMax)
    this.#buckets.set(caller, bucket)
    if (bucket.take(this.#clock.monotonic() * 1000)) return
    throw new RingfenceError('OVERLOADED', `${caller} asks for more than txnTokensPerCallerPerSecondMax`, {
      hint: 'use one transaction token for all that a person does within its minutes',
    })
  }
}
