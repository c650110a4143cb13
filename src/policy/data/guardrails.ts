/** Limits on what one statement may cost, and on the times it may name. Who asks does not matter. */
import type { Amount, StatementFacts } from '../../cql/statement/facts.ts'
import type { RequestCheck } from '../obligations.ts'
import type { TableInfo } from '../request.ts'
import type { Findings } from './findings.ts'
import type { Bound, TableLaw } from './law.ts'
import { pageCheck, timestampCheck } from './law.ts'

/** Scans, filtering, LIMIT and pages of a SELECT. */
export function judgeRead(
  findings: Findings,
  law: TableLaw,
  facts: StatementFacts,
  table: TableInfo | undefined,
): void {
  if (facts.accesses.some(({ permission }) => permission === 'SCAN')) {
    findings.refuseEach(law.scans, `a SELECT on ${law.label} must give the whole partition key`)
  }
  if (facts.allowFiltering) findings.refuseEach(law.filtering, `a SELECT on ${law.label} must not have ALLOW FILTERING`)
  if (law.limit.length === 0 && law.pageSize.length === 0) return
  if (isOneRow(facts, table)) return
  const { limit } = facts
  for (const bound of law.limit) judgeLimit(findings, law, bound, limit)
  if (limit === undefined) findings.ask(law.pages)
  else if ('marker' in limit) findings.ask(law.pageSize.map((bound) => pageCheck(bound, law.label, limit.marker)))
  else findings.ask(law.pages.filter((_, index) => !isAtMost(limit.literal, law.pageSize[index]!)))
}

function judgeLimit(findings: Findings, law: TableLaw, bound: Bound, limit: Amount | undefined): void {
  const { name, observe, max } = bound
  const text = `a SELECT on ${law.label} needs a LIMIT of at most ${max}`
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
  law: TableLaw,
  facts: StatementFacts,
  firstMarker: number | undefined,
): void {
  if (law.inValues.length === 0) return
  let times = 1
  const markers: number[] = []
  for (const { operator, list, values } of facts.restrictions) {
    if (operator !== 'IN') continue
    if (list === undefined) times *= values.length
    else if (firstMarker !== undefined) markers.push(firstMarker + list)
  }
  for (const { name, observe, max } of law.inValues) {
    const text = `the IN lists of a statement on ${law.label} may have at most ${max} values, multiplied`
    if (markers.length > 0) findings.ask([{ rule: name, observe, text, test: { kind: 'inSize', markers, times, max } }])
    else if (times > max) findings.refuse({ name, observe }, text)
  }
}

/** The timestamp that a write names, or the request's own for it. Of literals too, for the clock goes on while decisions are kept. */
export function judgeTimestamp(
  findings: Findings,
  law: TableLaw,
  timestamp: Amount | undefined,
  firstMarker: number | undefined,
): void {
  if (timestamp === undefined) findings.ask(law.defaultTimestamps)
  else if ('literal' in timestamp) {
    findings.ask(law.timestamps.map((rule) => timestampCheck(rule, timestamp.literal, undefined)))
  } else if (firstMarker !== undefined) {
    const marker = firstMarker + timestamp.marker
    findings.ask(law.timestamps.map((rule): RequestCheck => timestampCheck(rule, undefined, marker)))
  }
}

/** The partition that a write names with strings, as a key of a Map; undefined where it names it otherwise. */
export function partitionOf(facts: StatementFacts, table: TableInfo | undefined): string | undefined {
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
