/** Limits on what one statement may cost, and on the times it may name. Who asks does not matter. */
import type { Amount, StatementFacts } from '../../cql/statement/facts.ts'
import type { RequestCheck } from '../obligations.ts'
import type { Steps } from '../pace.ts'
import type { TableInfo } from '../request.ts'
import type { Findings } from './findings.ts'
import type { Bound, TableRules, TimestampBounds } from './rules.ts'
import { pageCheck, partitionsText, timestampCheck } from './rules.ts'

/** Scans, filtering, LIMIT and pages of a SELECT. */
export function judgeRead(
  findings: Findings,
  rules: TableRules,
  facts: StatementFacts,
  table: TableInfo | undefined,
): void {
  if (facts.accesses.some(({ permission }) => permission === 'SCAN')) {
    findings.refuseEach(rules.scans, `a SELECT on ${rules.label} must give the whole partition key`)
  }
  if (facts.allowFiltering)
    findings.refuseEach(rules.filtering, `a SELECT on ${rules.label} must not have ALLOW FILTERING`)
  if (rules.limit.length === 0 && rules.pageSize.length === 0) return
  if (isOneRow(facts, table)) return
  const { limit } = facts
  for (const bound of rules.limit) judgeLimit(findings, rules, bound, limit)
  if (limit === undefined) findings.ask(rules.pages)
  else if ('marker' in limit) findings.ask(rules.pageSize.map((bound) => pageCheck(bound, rules.label, limit.marker)))
  else findings.ask(rules.pages.filter((_, index) => !isAtMost(limit.literal, rules.pageSize[index]!)))
}

function judgeLimit(findings: Findings, rules: TableRules, bound: Bound, limit: Amount | undefined): void {
  const { name, observe, max } = bound
  const text = `a SELECT on ${rules.label} needs a LIMIT of at most ${max}`
  if (limit === undefined || ('literal' in limit && !isAtMost(limit.literal, bound))) findings.refuse(bound, text)
  else if ('marker' in limit) {
    findings.ask([{ rule: name, observe, text, test: { kind: 'limit', marker: limit.marker, max } }])
  }
}

/**
 * IN lists of any statement. Lists on several columns multiply: Cassandra reads every combination.
 * @param firstMarker as for `judgeRowLife`
 */
export function judgeLists(
  findings: Findings,
  rules: TableRules,
  facts: StatementFacts,
  firstMarker: number | undefined,
): void {
  if (rules.inValues.length === 0) return
  let times = 1
  const markers: number[] = []
  for (const { operator, list, values } of facts.restrictions) {
    if (operator !== 'IN') continue
    if (list === undefined) times *= values.length
    else if (firstMarker !== undefined) markers.push(firstMarker + list)
  }
  for (const { name, observe, max } of rules.inValues) {
    const text = `the IN lists of a statement on ${rules.label} may have at most ${max} values, multiplied`
    if (markers.length > 0) findings.ask([{ rule: name, observe, text, test: { kind: 'inSize', markers, times, max } }])
    else if (times > max) findings.refuse({ name, observe }, text)
  }
}

/** The timestamp that a write names, or the request's own for it. Of literals too, for the clock goes on while decisions are kept. */
export function judgeTimestamp(
  findings: Findings,
  { rules, defaults }: TimestampBounds,
  timestamp: Amount | undefined,
  firstMarker: number | undefined,
): void {
  if (timestamp === undefined) findings.ask(defaults)
  else if ('literal' in timestamp) {
    findings.ask(rules.map((rule) => timestampCheck(rule, timestamp.literal, undefined)))
  } else if (firstMarker !== undefined) {
    const marker = firstMarker + timestamp.marker
    findings.ask(rules.map((rule): RequestCheck => timestampCheck(rule, undefined, marker)))
  }
}

/** What the timestamp of a write is held against. */
export function timestampBoundsOf(rules: TableRules, facts: StatementFacts): TimestampBounds {
  return onlyRemoves(facts) ? rules.ofDeletes : rules.ofWrites
}

/**
 * A DELETE, and an UPDATE that sets whole columns to a null that is written, and does nothing else. An INSERT is none: beside its nulls it says
 * that the row is there.
 */
function onlyRemoves({ verb, assignments, accesses, restrictions }: StatementFacts): boolean {
  if (verb === 'DELETE') return true
  if (verb !== 'UPDATE' || assignments.length === 0) return false
  if (!assignments.every(({ part, value }) => part === 'whole' && value === 'null')) return false
  const removedOrKey = new Set(assignments.map(({ column }) => column))
  for (const { columns } of restrictions) for (const column of columns) removedOrKey.add(column)
  return accesses.every(
    ({ permission, columns }) =>
      permission !== 'MODIFY' || (columns !== '*' && columns.every((column) => removedOrKey.has(column))),
  )
}

/** The IN lists with which a write names its partitions: each combination is one. */
export interface PartitionLists {
  /** Of the lists that are written. */
  readonly times: number
  /** Markers of those that are bound, counted in the statement. */
  readonly markers: readonly number[]
}

const oneByOne: PartitionLists = { times: 1, markers: [] }

/** @param key of the table; where it is not known, every list counts */
export function partitionLists({ restrictions }: StatementFacts, key: readonly string[] | undefined): PartitionLists {
  let times = 1
  let markers: number[] | undefined
  for (const { operator, columns, list, values } of restrictions) {
    if (operator !== 'IN') continue
    if (key !== undefined && key.length > 0 && !columns.some((column) => key.includes(column))) continue
    if (list === undefined) times *= values.length
    else {
      markers ??= []
      markers.push(list)
    }
  }
  return times === 1 && markers === undefined ? oneByOne : { times, markers: markers ?? [] }
}

/** The partition that a write names with strings, as a key of a Map; undefined where it names it otherwise. */
function partitionOf(facts: StatementFacts, table: TableInfo | undefined): string | undefined {
  if (table === undefined || table.partitionKey.length === 0) return undefined
  const key = [facts.keyspace, facts.table]
  for (const column of table.partitionKey) {
    const equal = facts.restrictions.find(
      ({ columns, operator, token }) => operator === '=' && !token && columns.length === 1 && columns[0] === column,
    )
    const value = equal?.values[0]
    if (value === undefined || !('text' in value)) return undefined
    key.push(value.text)
  }
  return JSON.stringify(key)
}

/** Between two looks at the clock. */
const writesAStep = 64

/** How many partitions writes name by themselves, and the lists that the request's values fill. */
export interface PartitionsWritten {
  readonly written: number
  readonly lists: readonly PartitionLists[]
}

/**
 * The partitions of writes whose markers are those of the request: in a BATCH text, or of one write by itself. Every rule of a BATCH is
 * held against the same count, so that it is made once.
 * @param firstMarker of the first of them
 */
export function* partitionsWritten(
  writes: readonly StatementFacts[],
  tableOf: (write: StatementFacts) => TableInfo | undefined,
  firstMarker: number,
): Steps<PartitionsWritten> {
  const named = new Set<string>()
  const lists: PartitionLists[] = []
  let others = 0
  let markerAt = firstMarker
  let steps = 0
  for (const write of writes) {
    if (++steps % writesAStep === 0) yield false
    const table = tableOf(write)
    const { times, markers } = partitionLists(write, table?.partitionKey)
    if (markers.length > 0) {
      const first = markerAt
      lists.push({ times, markers: markers.map((marker) => first + marker) })
    } else {
      const name = times === 1 ? partitionOf(write, table) : undefined
      if (name === undefined) others += times
      else named.add(name)
    }
    markerAt += write.markers.length
  }
  return { written: named.size + others, lists }
}

export function judgePartitions(
  findings: Findings,
  bounds: readonly Bound[],
  label: string,
  { written, lists }: PartitionsWritten,
): void {
  for (const { name: rule, observe, max } of bounds) {
    const text = partitionsText(label, max)
    if (written > max) findings.refuse({ name: rule, observe }, text)
    else if (lists.length > 0) {
      findings.ask([{ rule, observe, text, test: { kind: 'partitionLists', written, lists, max } }])
    }
  }
}

/** The whole primary key is given, so there is at most one row. */
function isOneRow({ restrictions }: StatementFacts, table: TableInfo | undefined): boolean {
  if (table === undefined || table.partitionKey.length === 0) return false
  const given = new Set<string>()
  for (const { operator, token, columns } of restrictions) {
    if (operator === '=' && !token) for (const column of columns) given.add(column)
  }
  return [...table.partitionKey, ...table.clusteringKey].every((column) => given.has(column))
}

function isAtMost(literal: bigint, { max }: Bound): boolean {
  return literal <= BigInt(max)
}
