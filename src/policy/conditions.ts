/**
 * `when:` of a rule, and the parts of a request that rules look at.
 *
 * Rule: two requests with the same key (`ContextUse.key`) must come to the same verdict, for verdicts are remembered by it. A condition on a further
 * part of a request must add that part here.
 */
import type { Permission } from '../cql/statement/facts.ts'
import { canonicalAddress } from './address.ts'
import type { Party, WantedClaims } from './principal.ts'
import type { RequestContext } from './request.ts'

/** `from` is in, `to` is out; where `from` is later, the hours go over midnight. Minutes of the day, UTC. */
export interface Hours {
  readonly from: number
  readonly to: number
}

/** All that is given must hold. */
export interface Conditions {
  /** IPv4 or IPv6 addresses, or such with `/bits`. */
  readonly clientAddresses: readonly string[] | undefined
  readonly hours: Hours | undefined
  readonly days: readonly Day[] | undefined
  /** Names as drivers write them: `LOCAL_QUORUM`. */
  readonly consistency: readonly string[] | undefined
  readonly authentication: readonly string[] | undefined
  /** Looked at once for a session, whose claims stay (`slices.ts`). */
  readonly claims: WantedClaims | undefined
  /** Statements with IF only (true), or those without (false). */
  readonly conditional: boolean | undefined
  /** The statement must have a LIMIT of at most this. */
  readonly rowsMax: number | undefined
}

export const days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const
export type Day = (typeof days)[number]

/** Nothing is asked of the request itself. */
export function isOfSession({ claims, ...others }: Conditions): boolean {
  return Object.values(others).every((one) => one === undefined)
}

/** Permissions that some conditions speak of; a rule with one of these speaks of no other. */
export const permissionsUnder = {
  consistency: new Set<Permission>(['SELECT', 'MODIFY', 'SCAN']),
  conditional: new Set<Permission>(['SELECT', 'MODIFY']),
  rowsMax: new Set<Permission>(['SELECT', 'SCAN']),
} as const

/** What Cedar policies see of a request, by the names in our schema. */
export const contextAttributes = [
  'clientAddress',
  'authentication',
  'methods',
  'sessionMethods',
  'protocol',
  'preparing',
  'consistency',
  'rows',
  'ttlSeconds',
  'conditional',
  'minuteOfDay',
  'dayOfWeek',
] as const
export type ContextAttribute = (typeof contextAttributes)[number]

/** What a session finds out of each request only where it is wanted. */
export type RequestNeeds = { readonly [K in 'authentication' | 'consistency' | 'rows' | 'ttlSeconds']: boolean }

/** The parts of a request that some rules look at. */
export class ContextUse {
  /** Whole values. */
  readonly #exact = new Set<ContextAttribute>()
  /** Minutes of the day at which something begins or ends. */
  readonly #minutes = new Set<number>()
  readonly #rows = new Set<number>()
  #minutesSorted: readonly number[] | undefined
  #rowsSorted: readonly number[] | undefined

  addConditions(when: Conditions): void {
    if (when.clientAddresses !== undefined) this.#exact.add('clientAddress')
    if (when.days !== undefined) this.#exact.add('dayOfWeek')
    if (when.consistency !== undefined) this.#exact.add('consistency')
    if (when.authentication !== undefined) this.#exact.add('authentication')
    if (when.hours !== undefined) this.#minutes.add(when.hours.from).add(when.hours.to)
    if (when.rowsMax !== undefined) this.#rows.add(when.rowsMax)
  }

  add(attribute: ContextAttribute): void {
    // Other words for the same.
    if (attribute === 'methods' || attribute === 'sessionMethods') this.#exact.add('authentication')
    // Of the statement and not of the request; whoever remembers verdicts of statements apart need not look at it.
    else if (attribute !== 'conditional') this.#exact.add(attribute)
  }

  get nothing(): boolean {
    return this.#exact.size === 0 && this.#minutes.size === 0 && this.#rows.size === 0
  }

  get needs(): RequestNeeds {
    return {
      authentication: this.#exact.has('authentication'),
      consistency: this.#exact.has('consistency'),
      rows: this.#exact.has('rows') || this.#rows.size > 0,
      ttlSeconds: this.#exact.has('ttlSeconds'),
    }
  }

  /** The next time at which the key changes by the clock alone; Infinity where no rule depends on the time. */
  untilMs(nowMs: number): number {
    if (this.nothing) return Number.POSITIVE_INFINITY
    if (this.#exact.has('minuteOfDay')) return nextMinuteMs(nowMs, minuteOfDay(nowMs) + 1)
    let untilMs = this.#exact.has('dayOfWeek') ? nextMinuteMs(nowMs, 0) : Number.POSITIVE_INFINITY
    for (const minute of this.#minutes) untilMs = Math.min(untilMs, nextMinuteMs(nowMs, minute))
    return untilMs
  }

  /**
   * '' when nothing is looked at.
   * @param side of a pair, where only that one is asked about
   */
  key(request: RequestContext, side?: Party['side']): string {
    if (this.nothing) return ''
    const exact = this.#exact
    const parts: (string | number | boolean | undefined)[] = []
    if (exact.has('clientAddress')) parts.push(canonicalAddress(request.clientAddress))
    if (exact.has('authentication')) parts.push(request.authentication, ...(side === undefined ? [] : [side]))
    if (exact.has('protocol')) parts.push(request.protocol)
    const { consistency, rows, ttlSeconds } = this.needs
    if (consistency || rows || ttlSeconds || exact.has('preparing')) parts.push(request.preparing)
    if (consistency) parts.push(request.consistency)
    if (exact.has('rows')) parts.push(request.rows)
    else if (rows) {
      this.#rowsSorted ??= [...this.#rows].sort((a, b) => a - b)
      parts.push(request.rows === undefined ? undefined : this.#rowsSorted.findIndex((max) => request.rows! <= max))
    }
    if (ttlSeconds) parts.push(request.ttlSeconds)
    if (exact.has('minuteOfDay')) parts.push(minuteOfDay(request.nowMs))
    else if (this.#minutes.size > 0) {
      this.#minutesSorted ??= [...this.#minutes].sort((a, b) => a - b)
      const minute = minuteOfDay(request.nowMs)
      parts.push(this.#minutesSorted.findIndex((bound) => minute < bound))
    }
    if (exact.has('dayOfWeek')) parts.push(dayOfWeek(request.nowMs))
    return JSON.stringify(parts)
  }
}

const dayMs = 86_400_000

export function minuteOfDay(nowMs: number): number {
  return Math.floor((((nowMs % dayMs) + dayMs) % dayMs) / 60_000)
}

/** The next time, later than now, that this minute of a day begins. */
function nextMinuteMs(nowMs: number, minute: number): number {
  const todayMs = Math.floor(nowMs / dayMs) * dayMs + minute * 60_000
  return todayMs > nowMs ? todayMs : todayMs + dayMs
}

/** 1970 began with a Thursday. */
export function dayOfWeek(nowMs: number): Day {
  return days[(((Math.floor(nowMs / 86_400_000) + 3) % 7) + 7) % 7]!
}
