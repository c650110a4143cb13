/**
 * Bounds what clients may cost that have not proved who they are: connections, handshakes and requests, each by address, so that a flood
 * harms only the address that it comes from. Where proxies call from, that address has a budget of its own size.
 *
 *   connection ─▶ [handshakes, unproven at a time] ─▶ TLS ─▶ certificate of the mesh ─▶ proven: no bound here
 *                                                        └▶ none ─▶ [requests] ─▶ token known? ─▶ [signatures for tokens]
 */

import { isIP } from 'node:net'
import { TokenBucket } from '../base/bucket.ts'
import { createCache } from '../base/cache.ts'
import type { Clock } from '../base/clock.ts'
import { Counts } from '../base/counts.ts'
import { limits } from '../base/limits.ts'
import { addressBlock } from '../mesh/address-block.ts'

/** Addresses that are remembered; the least recently seen go first. */
const addressesMax = 10_000
/** One address may hold so much of all connections that have not proved anything. */
const sharePerAddress = 8
/** An address from which nobody ever proved anything makes so much less. */
const strangersPart = 10

interface AddressBudget {
  readonly handshakes: TokenBucket
  readonly strangersHandshakes: TokenBucket
  readonly requests: TokenBucket
  /** A member of the mesh has called from here. */
  known: boolean
}

/** Ends a connection that has not proved anything. */
type End = () => void

export class Admission {
  readonly #clock: Clock
  readonly #budgets = createCache<AddressBudget>(addressesMax)
  /** Connections that have not proved anything yet, oldest first, with their address. */
  readonly #unproven = new Map<string, { readonly address: string; readonly end: End }>()
  readonly #unprovenAt = new Counts<string>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Connections that have not proved anything. */
  get unproven(): number {
    return this.#unproven.size
  }

  /**
   * A connection came. False where it is not to cost a handshake. Where there are too many without proof the oldest goes, of the address that
   * has most: whoever exchanges a token may have to wait for who verifies it.
   * @param id of the connection, such as its address and port
   */
  connected(id: string, address: string | undefined, end: End): boolean {
    const key = keyOf(address)
    const budget = this.#budgetOf(key)
    const now = this.#micros()
    if (!(budget.known ? budget.handshakes : budget.strangersHandshakes).take(now)) return false
    const { controlUnprovenMax } = limits
    if (this.#unprovenAt.of(key) >= controlUnprovenMax / sharePerAddress) this.#endOldest(key)
    // No LRU: of connections the oldest of one address goes.
    else if (this.#unproven.size >= controlUnprovenMax) this.#endOldest(this.#heaviest())
    this.#unproven.set(id, { address: key, end })
    this.#unprovenAt.more(key)
    return true
  }

  /** It showed a certificate of the mesh. */
  proven(id: string, address: string | undefined): void {
    this.#budgetOf(keyOf(address)).known = true
    this.left(id)
  }

  /** It is gone, or proved itself. */
  left(id: string): void {
    const entry = this.#unproven.get(id)
    if (entry === undefined) return
    this.#unproven.delete(id)
    this.#unprovenAt.less(entry.address)
  }

  /** Whether a request without a certificate may cost something. */
  mayAsk(address: string | undefined): boolean {
    return this.#budgetOf(keyOf(address)).requests.take(this.#micros())
  }

  #heaviest(): string {
    let most = ''
    let count = 0
    for (const [address, own] of this.#unprovenAt) {
      if (own <= count) continue
      most = address
      count = own
    }
    return most
  }

  #endOldest(address: string): void {
    for (const [id, entry] of this.#unproven) {
      if (entry.address !== address) continue
      this.left(id)
      entry.end()
      return
    }
  }

  #budgetOf(key: string): AddressBudget {
    const found = this.#budgets.get(key)
    if (found !== undefined) return found
    const perSecond = limits.controlHandshakesPerSecondMax
    const budget = {
      handshakes: new TokenBucket(2 * perSecond, perSecond),
      strangersHandshakes: new TokenBucket((2 * perSecond) / strangersPart, perSecond / strangersPart),
      requests: new TokenBucket(2 * limits.controlRequestsPerSecondMax, limits.controlRequestsPerSecondMax),
      known: false,
    }
    this.#budgets.set(key, budget)
    return budget
  }

  #micros(): number {
    return this.#clock.monotonic() * 1000
  }
}

function keyOf(address: string | undefined): string {
  return address === undefined || isIP(address) === 0 ? '' : addressBlock(address)
}
