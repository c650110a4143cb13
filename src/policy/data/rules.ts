/**
 * The data rules after validation, and which of them concern one table: found once for each table, then remembered.
 */

import { createCache } from '../../base/cache.ts'
import { isSystemKeyspace, matchesName } from '../names.ts'
import type { Mask, Obligations, RequestCheck } from '../obligations.ts'
import type { Subject } from '../subjects.ts'
import { tableName } from './words.ts'

/** A rule as verdicts name it. */
export interface Rule {
  readonly name: string
  readonly observe: boolean
}

/** Tables and columns that a rule is about, each pattern × each. Undefined means every one. */
export interface Target {
  readonly keyspaces: readonly string[]
  readonly tables: readonly string[] | undefined
  readonly columns: readonly string[] | undefined
}

export interface MaskRule extends Rule {
  readonly targets: readonly Target[]
  /** Undefined means everyone. */
  readonly subjects: readonly Subject[] | undefined
  readonly exceptSubjects: readonly Subject[]
  readonly mask: Mask
}

export interface RetentionRule extends Rule {
  readonly kind: 'retention'
  readonly targets: readonly Target[]
  readonly maxSeconds: number | undefined
  readonly defaultSeconds: number | undefined
  /** A write without a TTL is refused, unless the table's default is admissible. */
  readonly required: boolean
}

/** Nothing may be deleted or expire. */
export interface HoldRule extends Rule {
  readonly kind: 'hold'
  readonly targets: readonly Target[]
}

/** Limits that a Guardrail sets; undefined where it says nothing. Durations are in milliseconds. */
export interface GuardRule extends Rule {
  readonly targets: readonly Target[]
  readonly pageSizeMax: number | undefined
  readonly inValuesMax: number | undefined
  readonly partitionsPerBatchMax: number | undefined
  readonly limitMax: number | undefined
  readonly scansDenied: boolean
  readonly filteringDenied: boolean
  readonly futureMaxMs: number | undefined
  readonly pastMaxMs: number | undefined
  readonly nowInSeconds: 'allow' | 'deny' | undefined
  /** Classes that statements may name beside Cassandra's own; empty where it says nothing. */
  readonly allowedClasses: readonly string[]
}

/** One limit of one rule. */
export interface Bound extends Rule {
  readonly max: number
}

/** Column patterns of a mask in one table. */
export interface TableMask {
  readonly rule: MaskRule
  readonly columns: readonly string[] | undefined
}

/** What binds one table, or a view and its base together. Limits: the strictest that is enforced, and stricter ones that are observed. */
export interface TableRules {
  /** For the client: `keyspace.table`. */
  readonly label: string
  readonly masks: readonly TableMask[]
  /** Masks that the table would have if it were a view of another table of its keyspace. */
  readonly keyspaceMasks: readonly TableMask[]
  readonly retention: readonly RetentionRule[]
  readonly holds: readonly HoldRule[]
  /** It has rules on writes beside those on timestamps, so each write is looked at. */
  readonly judgesWrites: boolean
  readonly pageSize: readonly Bound[]
  readonly inValues: readonly Bound[]
  readonly partitions: readonly Bound[]
  readonly limit: readonly Bound[]
  readonly scans: readonly Rule[]
  readonly filtering: readonly Rule[]
  /** Timestamps: the sides of each rule. Where no Guardrail is enforced, the built-in bound is. */
  readonly ofWrites: TimestampBounds
  /** Of DELETE: only what Guardrails say. The built-in bound does not apply, for such a DELETE repairs a row whose timestamp is too far ahead. */
  readonly ofDeletes: TimestampBounds
  /** now_in_seconds; empty where it is allowed. */
  readonly now: readonly RequestCheck[]
  /** `LIMIT`-less page checks; shared. */
  readonly pages: readonly RequestCheck[]
  /** The partition checks of a write in a BATCH message; shared. */
  readonly batches: readonly RequestCheck[]
}

/** What timestamps of one kind of write are bound by. */
export interface TimestampBounds {
  readonly rules: readonly TimestampRule[]
  /** The checks of a write that names none; shared, so that permits stay small. */
  readonly defaults: readonly RequestCheck[]
  /** Obligations of a plain write: `batches`, `defaults` and `now`. */
  readonly plain: Obligations
}

export interface TimestampRule extends Rule {
  readonly futureMs: number | undefined
  readonly pastMs: number | undefined
  readonly text: string
}

export const timestampBoundRule = 'timestamp-bound'
export const nowInSecondsRule = 'now-in-seconds'
const builtinFutureMs = 3_600_000

const builtinTimestamp: TimestampRule = {
  name: timestampBoundRule,
  observe: false,
  futureMs: builtinFutureMs,
  pastMs: undefined,
  text: timestampText('a write', builtinFutureMs, undefined),
}

const builtinNow: readonly RequestCheck[] = [
  {
    rule: nowInSecondsRule,
    observe: false,
    text: 'a request must not say what time it is (now_in_seconds)',
    test: { kind: 'nowInSeconds' },
  },
]

/** What every request must meet where nothing else is asked; the checks of a SELECT of an ordinary table. */
export const builtinChecks: readonly RequestCheck[] = builtinNow

/** Tables whose rules are remembered; of more the least recently used are forgotten and found again. */
const tablesRememberedMax = 10_000

export class DataRules {
  readonly masks: readonly MaskRule[]
  readonly retention: readonly RetentionRule[]
  readonly holds: readonly HoldRule[]
  readonly guards: readonly GuardRule[]
  readonly #tables = createCache<TableRules>(tablesRememberedMax)

  constructor(rules: {
    readonly masks: readonly MaskRule[]
    readonly retention: readonly RetentionRule[]
    readonly holds: readonly HoldRule[]
    readonly guards: readonly GuardRule[]
  }) {
    this.masks = rules.masks
    this.retention = rules.retention
    this.holds = rules.holds
    this.guards = rules.guards
  }

  /** @param base the table that a view shows; what binds it binds the view */
  of(keyspace: string, table: string, base: string | undefined): TableRules {
    // Lengths in front, so that no name that a client made up is read as the end of another.
    const key = `${keyspace.length}:${table.length}:${keyspace}${table}${base ?? ''}`
    let rules = this.#tables.get(key)
    if (rules === undefined) {
      rules = this.#find(keyspace, table, base)
      this.#tables.set(key, rules)
    }
    return rules
  }

  /** Holds of anything in a keyspace. */
  holdsIn(keyspace: string): readonly HoldRule[] {
    return this.holds.filter(({ targets }) => targets.some((target) => coversKeyspace(target, keyspace)))
  }

  /** Whether a Guardrail admits a class for a table; for a keyspace itself where `table` is undefined. */
  allowsClass(name: string, keyspace: string, table: string | undefined): boolean {
    const covers = (target: Target): boolean =>
      table === undefined
        ? target.tables === undefined && coversKeyspace(target, keyspace)
        : coversTable(target, keyspace, table)
    return this.guards.some(({ allowedClasses, targets }) => allowedClasses.includes(name) && targets.some(covers))
  }

  #find(keyspace: string, table: string, base: string | undefined): TableRules {
    const covers = (target: Target): boolean =>
      coversTable(target, keyspace, table) || (base !== undefined && coversTable(target, keyspace, base))
    const concerns = (rule: { readonly targets: readonly Target[] }): boolean => rule.targets.some(covers)
    const masksOf = (wanted: (target: Target) => boolean): TableMask[] =>
      this.masks.flatMap((rule) => rule.targets.filter(wanted).map(({ columns }) => ({ rule, columns })))
    const label = tableName(keyspace, table)
    const guards = this.guards.filter(concerns)
    const bounds = (of: (rule: GuardRule) => number | undefined): readonly Bound[] => strictest(guards, of)
    const timestamps = timestampRules(guards, label)
    const pageSize = bounds((rule) => rule.pageSizeMax)
    const partitions = bounds((rule) => rule.partitionsPerBatchMax)
    const batches = partitions.map(({ name, observe, max }): RequestCheck => {
      return { rule: name, observe, text: partitionsText(label, max), test: { kind: 'partitions', max } }
    })
    const now = nowChecks(guards, label)
    const retention = this.retention.filter(concerns)
    const holds = this.holds.filter(concerns)
    const inValues = bounds((rule) => rule.inValuesMax)
    return {
      label,
      masks: masksOf(covers),
      keyspaceMasks: masksOf((target) => coversKeyspace(target, keyspace)),
      retention,
      holds,
      judgesWrites: retention.length + holds.length + inValues.length > 0,
      pageSize,
      inValues,
      partitions,
      limit: bounds((rule) => rule.limitMax),
      scans: refusing(guards, (rule) => rule.scansDenied),
      filtering: refusing(guards, (rule) => rule.filteringDenied),
      ofWrites: timestampBounds(timestamps, batches, now),
      ofDeletes: timestampBounds(
        timestamps.filter((rule) => rule !== builtinTimestamp),
        batches,
        now,
      ),
      now,
      pages: pageSize.map((bound) => pageCheck(bound, label, undefined)),
      batches,
    }
  }
}

export function timestampCheck(
  { name, observe, futureMs, pastMs, text }: TimestampRule,
  literalMicros: bigint | undefined,
  marker: number | undefined,
): RequestCheck {
  return { rule: name, observe, text, test: { kind: 'timestamp', literalMicros, marker, futureMs, pastMs } }
}

export function pageCheck(bound: Bound, label: string, limitMarker: number | undefined): RequestCheck {
  const { name, observe, max } = bound
  const text = `a SELECT on ${label} needs a page size or LIMIT of at most ${max} rows`
  return { rule: name, observe, text, test: { kind: 'pageSize', max, limitMarker } }
}

export function partitionsText(label: string, max: number): string {
  return `a BATCH or statement that writes ${label} may write at most ${max} partitions`
}

function coversKeyspace(target: Target, keyspace: string): boolean {
  const wildcards = !isSystemKeyspace(keyspace)
  return target.keyspaces.some((pattern) => (wildcards || !pattern.endsWith('*')) && matchesName(pattern, keyspace))
}

function coversTable(target: Target, keyspace: string, table: string): boolean {
  if (!coversKeyspace(target, keyspace)) return false
  return target.tables?.some((pattern) => matchesName(pattern, table)) ?? true
}

/** The lowest bound that is enforced, the first of equal ones; and observed bounds that are lower still. */
function strictest(rules: readonly GuardRule[], of: (rule: GuardRule) => number | undefined): Bound[] {
  const bounds = rules.flatMap((rule): Bound[] => {
    const max = of(rule)
    return max === undefined ? [] : [{ name: rule.name, observe: rule.observe, max }]
  })
  let enforced: Bound | undefined
  for (const bound of bounds) if (!bound.observe && bound.max < (enforced?.max ?? Infinity)) enforced = bound
  const observed = bounds.filter(({ observe, max }) => observe && max < (enforced?.max ?? Infinity))
  return enforced === undefined ? observed : [enforced, ...observed]
}

/** The first rule that is enforced, or all that are observed. */
function refusing(rules: readonly GuardRule[], denies: (rule: GuardRule) => boolean): readonly Rule[] {
  const found = rules.filter(denies)
  const enforced = found.find(({ observe }) => !observe)
  return enforced === undefined ? found : [enforced]
}

function timestampRules(guards: readonly GuardRule[], label: string): readonly TimestampRule[] {
  const future = strictest(guards, (rule) => rule.futureMaxMs)
  const past = strictest(guards, (rule) => rule.pastMaxMs)
  const named = new Map<string, { rule: Rule; futureMs?: number; pastMs?: number }>()
  for (const bound of future) named.set(bound.name, { rule: bound, futureMs: bound.max })
  for (const bound of past) named.set(bound.name, { ...(named.get(bound.name) ?? { rule: bound }), pastMs: bound.max })
  const rules = [...named.values()].map(({ rule, futureMs, pastMs }): TimestampRule => {
    const { name, observe } = rule
    return { name, observe, futureMs, pastMs, text: timestampText(`a write to ${label}`, futureMs, pastMs) }
  })
  const bounded = future.some(({ observe }) => !observe)
  return bounded ? rules : [builtinTimestamp, ...rules]
}

function timestampBounds(
  rules: readonly TimestampRule[],
  batches: readonly RequestCheck[],
  now: readonly RequestCheck[],
): TimestampBounds {
  const defaults = rules.map((rule) => timestampCheck(rule, undefined, undefined))
  return { rules, defaults, plain: { checks: [...batches, ...defaults, ...now], masks: [], visibleOnly: false } }
}

function timestampText(what: string, futureMs: number | undefined, pastMs: number | undefined): string {
  const sides: string[] = []
  if (futureMs !== undefined) sides.push(`at most ${futureMs / 1000} seconds ahead of the clock`)
  if (pastMs !== undefined) sides.push(`at most ${pastMs / 1000} seconds behind the clock`)
  return `the timestamp of ${what} may be ${sides.join(' and ')}`
}

/** A deny wins. An enforced allow lifts the built-in refusal. */
function nowChecks(guards: readonly GuardRule[], label: string): readonly RequestCheck[] {
  const denied = refusing(guards, (rule) => rule.nowInSeconds === 'deny')
  const checks = denied.map(({ name, observe }): RequestCheck => {
    const text = `a request on ${label} must not say what time it is (now_in_seconds)`
    return { rule: name, observe, text, test: { kind: 'nowInSeconds' } }
  })
  if (denied.some(({ observe }) => !observe)) return checks
  return guards.some((rule) => rule.nowInSeconds === 'allow') ? checks : builtinNow
}
