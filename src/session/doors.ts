/**
 * Who may come in to a process, over all its listeners: places for those who are known, a bounded pool for those who are not yet.
 */

import type { Socket } from 'node:net'
import { TokenBucket } from '../base/bucket.ts'
import { createCache } from '../base/cache.ts'
import { nothingEnds, soon } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { workloadKeyOf } from '../identity/proofs/workload.ts'
import { addressBlock } from '../mesh/address-block.ts'
import type { Logger } from '../telemetry/log.ts'
import type { ClientInfo, OpenBackend } from './backend.ts'
import { Handshakes, type Leave, type PlaceBounds, Places } from './places.ts'
import { reset } from './reset.ts'

export interface DoorBounds extends PlaceBounds {
  readonly handshakesMax: number
  readonly handshakesPerAddressMax: number
  readonly handshakesPerAddressPerSecondMax: number
}

/** As limits.ts has them. */
export const doorBounds: DoorBounds = {
  name: 'connections',
  max: limits.connectionsMax,
  perAddressMax: limits.connectionsPerAddressMax,
  perIdentityMax: limits.connectionsPerIdentityMax,
  handshakesMax: limits.handshakesMax,
  handshakesPerAddressMax: limits.handshakesPerAddressMax,
  handshakesPerAddressPerSecondMax: limits.handshakesPerAddressPerSecondMax,
}

/** Connections of one address that have proved nothing: a TLS handshake takes the loop up to a millisecond. */
interface Unproven {
  readonly known: TokenBucket
  readonly strangers: TokenBucket
  /** Somebody has proved who he is from here. */
  isKnown: boolean
}

const logMsMin = 1000

export class Doors {
  readonly #places: Places
  readonly #handshakes: Handshakes
  readonly #refusals: Refusals
  readonly #unproven = createCache<Unproven>(limits.clientsRememberedMax)
  readonly #perSecondMax: number

  constructor(log: Logger, bounds: DoorBounds = doorBounds) {
    this.#perSecondMax = bounds.handshakesPerAddressPerSecondMax
    this.#places = new Places(bounds)
    this.#handshakes = new Handshakes(bounds.handshakesMax, bounds.handshakesPerAddressMax)
    this.#refusals = new Refusals(log, 'connection refused')
  }

  /** Places that are taken. */
  get taken(): number {
    return this.#places.taken
  }

  /**
   * `raw` has proved nothing yet; to be called when it has. An undefined `address` is not known yet.
   * @returns undefined where it is not to cost a handshake: it was reset
   */
  handshake(address: string | undefined, raw: Socket): Leave | undefined {
    if (address !== undefined && !this.#mayCome(address)) {
      this.#refusals.count('handshakesPerAddressPerSecondMax reached', { address })
      reset(raw)
      return undefined
    }
    const over = this.#handshakes.begin(address, () => {
      this.#refusals.count('handshakesMax or handshakesPerAddressMax reached', { address })
      reset(raw)
    })
    raw.once('close', over)
    return over
  }

  #mayCome(address: string): boolean {
    const unproven = this.#unprovenOf(address)
    const { known, strangers, isKnown } = unproven
    return (isKnown ? known : strangers).take(performance.now() * 1000)
  }

  /** Whoever proves who he is has cost nothing. */
  #proved(address: string): void {
    const unproven = this.#unprovenOf(address)
    const { known, strangers, isKnown } = unproven
    ;(isKnown ? known : strangers).giveBack()
    unproven.isKnown = true
  }

  #unprovenOf(address: string): Unproven {
    const found = this.#unproven.get(address)
    if (found !== undefined) return found
    const perSecond = this.#perSecondMax
    const made = {
      known: new TokenBucket(2 * perSecond, perSecond),
      strangers: new TokenBucket(perSecond / 2, perSecond / 10),
      isKnown: false,
    }
    this.#unproven.set(address, made)
    return made
  }

  /** Why there is no place for the client; undefined where it has one, until `raw` is closed. */
  enter(raw: Socket, info: ClientInfo, isLink: boolean): string | undefined {
    const identity = workloadKeyOf(info.identity)
    this.#proved(addressBlock(info.address))
    const displaced = (): void => {
      this.#refusals.count('its place was taken by an identity with fewer', { identity, address: info.address })
      reset(raw)
    }
    const address = addressBlock(info.address)
    const place = this.#places.take({ identity, address, displace: isLink ? undefined : displaced })
    if (typeof place === 'string') {
      this.#refusals.count(place, { identity, address: info.address })
      return place
    }
    raw.once('close', place)
    return undefined
  }
}

/** What stands behind a client for whom there is no place, or no node: STARTUP is answered OVERLOADED, which drivers show and try again. */
export function refusing(reason: string): OpenBackend {
  return (_client, _startup, _ready, failed) => {
    soon(nothingEnds, 'a refusal', () => failed(new RingfenceError('OVERLOADED', reason)))
    return { request() {}, close() {} }
  }
}

/** Counts what was refused by its reason; each reason has at most one line a second in the log. */
export class Refusals {
  readonly #log: Logger
  readonly #message: string
  readonly #reasons = new Map<string, { count: number; loggedAtMs: number }>()

  constructor(log: Logger, message: string) {
    this.#log = log
    this.#message = message
  }

  /** `reason` is one of few. */
  count(reason: string, about: Record<string, unknown>): void {
    const known = this.#reasons.get(reason) ?? { count: 0, loggedAtMs: -logMsMin }
    this.#reasons.set(reason, known)
    known.count++
    const nowMs = performance.now()
    if (nowMs - known.loggedAtMs < logMsMin) return
    known.loggedAtMs = nowMs
    this.#log.warn({ ...about, reason, refusedSoFar: known.count }, this.#message)
  }
}
