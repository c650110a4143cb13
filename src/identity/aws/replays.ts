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

  constructor(entriesMax: number) {
    this.#used = new OwnedEntries(entriesMax)
  }

  get size(): number {
    return this.#used.size
  }

  /** True where `address` may use it: the first, or the same again. */
  use({ principal, key, address, endMs }: PresignedUse, nowMs: number): boolean {
    const first = this.#used.get(principal, key, nowMs)
    if (first !== undefined) return first.address === address
    this.#used.set(principal, key, { address, endMs }, nowMs)
    return true
  }

  /** Nobody used it here. */
  forget({ principal, key }: PresignedUse): void {
    this.#used.delete(principal, key)
  }
}
