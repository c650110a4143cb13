/**
 * Rate limits in force: which of them count for a session, which of those for a statement, and what each key has taken.
 *
 *   policy ─▶ rules ─ of whom? ─▶ SessionLimits ─ of which statement? ─▶ Charge[] ─ stages/limit.ts ─▶ takes of a `RateTable`
 *
 * Rule: what is found for an identity or a statement is kept with it, so that a request finds its charges ready; it is found anew with each policy.
 */
import { limits } from '../../base/limits.ts'
import { RateTable } from '../../base/rate-table.ts'
import { personOf } from '../../identity/spiffe.ts'
import { addressBlock } from '../../mesh/address-block.ts'
import { parseAddress } from '../../policy/address.ts'
import { type AddressRange, concernsPrincipal, type RateLimitRule, rateOf } from '../../policy/limits/rules.ts'
import { type Scope, scopes } from '../../policy/limits/words.ts'
import type { Principal } from '../../policy/principal.ts'
import { type Meter, Parts } from './parts.ts'

/** A request of which nothing is expected needs some room, too. */
const leastUnits = 0.5
/** Products of what was divided are not. */
const exact = 1 + 1e-9
/** No message has more rows or bytes. */
const unitsMax = 2 ** 31

/** The meters of one identity, or of one identity at one address. */
export interface SessionLimits {
  readonly installs: number
  /** Of each meter its rule. It is one list for an identity at all its addresses, so that what a statement takes is found once for all of them. */
  readonly rules: readonly RateLimitRule[]
  /** Undefined where the rule does not count at this address. */
  readonly meters: readonly (Meter | undefined)[]
  /** Rules that look at the address, the last in the list; empty where these are the meters of one. */
  readonly ofAddresses: readonly RateLimitRule[]
}

/** Where they are kept: for an identity, and for a session where rules look at the address. */
export interface LimitsHolder {
  limits: SessionLimits | undefined
}

export class RateLimits {
  readonly #table = new RateTable(limits.rateKeysMax)
  readonly #nowMicros: () => number
  readonly #parts: Parts
  /** When the log last had a line on a debt. */
  debtToldMicros = -Infinity
  #rules: readonly RateLimitRule[] = []
  #installs = 0

  constructor(nowMicros: () => number) {
    this.#nowMicros = nowMicros
    this.#parts = new Parts(this.#table)
  }

  /** What this sidecar gives of each limit. */
  get parts(): Parts {
    return this.#parts
  }

  /** No policy limits anything. */
  get idle(): boolean {
    return this.#rules.length === 0
  }

  install(rules: readonly RateLimitRule[]): void {
    this.#rules = rules
    this.#parts.inUse = rules.length > 0
    this.#installs++
  }

  of(identity: LimitsHolder, session: LimitsHolder, principal: Principal, address: string): SessionLimits {
    let own = identity.limits
    if (own?.installs !== this.#installs) {
      own = this.#ofPrincipal(principal)
      identity.limits = own
    }
    if (own.ofAddresses.length === 0) return own
    let here = session.limits
    if (here?.installs !== this.#installs) {
      here = this.#atAddress(own, principal, address)
      session.limits = here
    }
    return here
  }

  /** For so long must it take nothing; 0 or less where it may take now. What is larger goes where one unit would, as a debt. */
  waitMicros(meter: Meter, units: number): number {
    const owed = this.#owed(meter)
    const unitMicros = meter.rate.intervalMicros / this.#parts.of(meter)
    const least = Math.max(leastUnits, Math.min(1, units)) * unitMicros
    // Sums of what was charged are not exact.
    return owed + least - Math.max(meter.rate.burstMicros, unitMicros) - 0.01
  }

  /**
   * More than may ever be taken at once, of what others have a part in: as a debt it would be theirs.
   * @param units that are known before its answer
   */
  isTooMuch({ scope, rate }: Meter, units: number): boolean {
    if (scope === 'perIdentity') return false
    return units * rate.intervalMicros > Math.max(rate.burstMicros, rate.intervalMicros) * exact
  }

  /** So long goes nothing; 0 or less where something may go. */
  debtMicros(meter: Meter): number {
    return this.#owed(meter) - Math.max(meter.rate.burstMicros, meter.rate.intervalMicros / this.#parts.of(meter))
  }

  /** That it is wanted counts for this sidecar's part of the limit. */
  want(meter: Meter, units: number): void {
    this.#find(meter, this.#nowMicros())
    this.#table.want(meter.slot, bounded(units) * meter.rate.intervalMicros)
  }

  /** Of what may be taken at once, the part that is taken: above 1 where it is over its limit. */
  usedPart(meter: Meter): number {
    const owed = this.#owed(meter)
    return owed / Math.max(meter.rate.burstMicros, meter.rate.intervalMicros / this.#parts.of(meter))
  }

  /** @param units below 0 for what was charged too much */
  charge(meter: Meter, units: number): void {
    const now = this.#nowMicros()
    this.#find(meter, now)
    const micros = bounded(units) * meter.rate.intervalMicros
    this.#table.charge(meter.slot, micros / this.#parts.of(meter), now)
    this.#table.take(meter.slot, micros)
  }

  #owed(meter: Meter): number {
    const now = this.#nowMicros()
    this.#find(meter, now)
    return this.#table.owedMicros(meter.slot, now)
  }

  #find(meter: Meter, now: number): void {
    if (meter.slot >= 0 && this.#table.generation(meter.slot) === meter.generation) return
    meter.slot = this.#table.slot(meter.key, now)
    meter.generation = this.#table.generation(meter.slot)
    this.#parts.found(meter)
  }

  #ofPrincipal(principal: Principal): SessionLimits {
    const rules = this.#rules.filter((rule) => concernsPrincipal(rule, principal))
    const looksAtAddress = (rule: RateLimitRule): boolean =>
      rule.addresses !== undefined || rule.rates.perAddress !== undefined
    const ofAddresses = rules.filter(looksAtAddress)
    const meters = rules.filter((rule) => !looksAtAddress(rule)).flatMap((rule) => metersOf(rule, principal, ''))
    // How many a rule has is the same at each address.
    const elsewhere = ofAddresses.flatMap((rule) => metersOf(rule, principal, ''))
    return { installs: this.#installs, rules: [...meters, ...elsewhere].map(({ rule }) => rule), meters, ofAddresses }
  }

  #atAddress({ rules, meters, ofAddresses }: SessionLimits, principal: Principal, address: string): SessionLimits {
    const bytes = parseAddress(addressWithoutZone(address))
    const counts = ({ addresses }: RateLimitRule): boolean =>
      addresses === undefined || (bytes !== undefined && addresses.some((one) => isIn(one, bytes)))
    const here = ofAddresses.flatMap((rule) =>
      metersOf(rule, principal, addressBlock(address)).map((meter) => (counts(rule) ? meter : undefined)),
    )
    return { installs: this.#installs, rules, meters: [...meters, ...here], ofAddresses: [] }
  }
}

/** One infinite number, or one that is none, would stay in a sum for good. */
function bounded(units: number): number {
  return units <= unitsMax ? Math.max(-unitsMax, units) : unitsMax
}

function metersOf(rule: RateLimitRule, principal: Principal, address: string): Meter[] {
  return scopes.flatMap((scope) => {
    const rate = rateOf(rule, scope, principal)
    const who = rate === undefined ? undefined : whoOf(scope, principal, address)
    if (rate === undefined || who === undefined) return []
    const key = `${scope} ${rule.name} ${ratesOf(rule, scope)} ${who}`
    return [{ rule, scope, rate, who, key, slot: -1, generation: 0, toldMicros: -Infinity }]
  })
}

/** Under other rates nothing is owed of what was taken under these. Those of overrides are the rule's, so that who has two of them has one key. */
function ratesOf({ rates, overrides }: RateLimitRule, scope: Scope): string {
  const others = overrides.map((one) => (scope === 'perIdentity' || scope === 'perPerson' ? one[scope] : undefined))
  return [rates[scope], ...others]
    .map((rate) => (rate === undefined || rate === 'none' ? '' : `${rate.text}~${rate.burstMicros}`))
    .join()
}

/** A workload has one limit, whoever it names as the person behind a request. */
function whoOf(scope: Scope, { spiffeId, person }: Principal, address: string): string | undefined {
  switch (scope) {
    case 'total':
      return ''
    case 'perIdentity':
      return spiffeId
    case 'perPerson':
      return person ?? personOf(spiffeId)
    case 'perAddress':
      return address
  }
}

function addressWithoutZone(address: string): string {
  const [bare = ''] = address.split('%')
  return bare.startsWith('::ffff:') && bare.includes('.') ? bare.slice('::ffff:'.length) : bare
}

function isIn(range: AddressRange, address: readonly number[]): boolean {
  if (range.bytes.length !== address.length) return false
  return range.bytes.every((byte, index) => {
    const bits = Math.min(8, Math.max(0, range.bits - index * 8))
    const mask = (0xff << (8 - bits)) & 0xff
    return (byte & mask) === (address[index]! & mask)
  })
}
