/**
 * Which address first used a pre-signed request: for as long as the request lives, no other may. Pools open many connections with one, so it
 * is not spent by one use.
 */
import { OwnedEntries } from '../../base/owned-entries.ts'

export interface PresignedUse {
  /** ARN of who signed it, as AWS STS says. */
  readonly principal: string
  /** `Presigned.key`. */
  readonly key: string
  /** Of who shows it. */
  readonly address: string
  readonly endMs: number
}

export class Replays {
  /** By principal: whoever fills it forgets its own. */
  readonly #used: OwnedEntries<{ readonly address: string; readonly endMs: number }>

  readonly #onFirst: (use: PresignedUse) => void

  /** @param onFirst told of each that nobody used before */
  constructor(entriesMax: number, onFirst: (use: PresignedUse) => void = () => {}) {
    this.#used = new OwnedEntries(entriesMax)
    this.#onFirst = onFirst
  }

  get size(): number {
    return this.#used.size
  }

  /** True where `address` may use it: the first, or the same again. */
  use(use: PresignedUse, nowMs: number): boolean {
    const { principal, key, address, endMs } = use
    const first = this.#used.get(principal, key, nowMs)
    if (first !== undefined) return first.address === address
    this.#used.set(principal, key, { address, endMs }, nowMs)
    this.#onFirst(use)
    return true
  }

  /** Nobody used it here. */
  forget({ principal, key }: PresignedUse): void {
    this.#used.delete(principal, key)
  }
}
