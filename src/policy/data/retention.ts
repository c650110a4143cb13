/**
 * How long rows live. A RetentionPolicy asks that they expire; a legal hold, that they do not, and it suspends the others for its
 * tables. Zero is Cassandra's word for "never expires".
 */
import type { StatementFacts } from '../../cql/statement/facts.ts'
import type { RequestCheck } from '../obligations.ts'
import type { TableInfo } from '../request.ts'
import type { Findings } from './findings.ts'
import { judgeRemovals } from './removals.ts'
import type { HoldRule, RetentionRule, TableRules } from './rules.ts'
import { printable } from './words.ts'

/**
 * INSERT, UPDATE and DELETE.
 * @param firstMarker the place of the statement's first marker among the request's values; undefined where its markers are judged apart
 */
export function judgeRowLife(
  findings: Findings,
  rules: TableRules,
  facts: StatementFacts,
  table: TableInfo | undefined,
  firstMarker: number | undefined,
): void {
  if (rules.holds.length === 0 && rules.retention.length === 0) return
  if (facts.verb === 'DELETE') {
    findings.refuseEach(rules.holds, heldText(rules, 'DELETE is refused'))
    return
  }
  judgeRemovals(findings, rules, facts, table, firstMarker)
  const { ttl } = facts
  const tableDefault = table?.defaultTtlSeconds
  for (const rule of rulesOf(rules)) {
    const judged = rule.kind === 'hold' ? holdTtl(rules) : retentionTtl(rule, rules)
    if (ttl === undefined) {
      if (!judged.admitsDefault(tableDefault)) findings.refuse(rule, judged.text)
    } else if ('literal' in ttl) {
      if (!isWithin(Number(ttl.literal), judged.minSeconds, judged.maxSeconds)) findings.refuse(rule, judged.text)
    } else if (firstMarker !== undefined) {
      const check: RequestCheck = {
        rule: rule.name,
        observe: rule.observe,
        text: judged.text,
        test: {
          kind: 'ttl',
          marker: firstMarker + ttl.marker,
          minSeconds: judged.minSeconds,
          maxSeconds: judged.maxSeconds,
          required: !judged.admitsDefault(tableDefault),
        },
      }
      findings.ask([check])
    }
  }
}

/** CREATE, ALTER and DROP of tables and views, and TRUNCATE. */
export function judgeTableLife(
  findings: Findings,
  rules: TableRules,
  facts: StatementFacts,
  table: TableInfo | undefined,
): void {
  const { verb, defaultTtlSeconds } = facts
  if (verb.startsWith('DROP') || verb === 'TRUNCATE') {
    findings.refuseEach(rules.holds, heldText(rules, `${verb} is refused`))
    return
  }
  if (verb === 'ALTER TABLE' && changesColumns(facts, table)) {
    findings.refuseEach(rules.holds, heldText(rules, 'its columns must stay'))
  }
  const given = defaultTtlSeconds ?? (verb === 'CREATE TABLE' ? 0 : undefined)
  if (given === undefined) return
  for (const rule of rulesOf(rules)) {
    if (rule.kind === 'retention') {
      const { maxSeconds, defaultSeconds } = rule
      if (isWithin(given, 1, maxSeconds) && (defaultSeconds === undefined || given === defaultSeconds)) continue
      const wanted = defaultSeconds === undefined ? rangeText(1, maxSeconds) : `${defaultSeconds} seconds`
      findings.refuse(rule, `default_time_to_live of ${rules.label} must be ${wanted}`)
    } else if (given !== 0) findings.refuse(rule, heldText(rules, 'its default_time_to_live must be 0'))
  }
}

/** DROP KEYSPACE. `holds`: those of anything in it. */
export function judgeKeyspaceDrop(findings: Findings, holds: readonly HoldRule[], keyspace: string): void {
  findings.refuseEach(holds, `keyspace ${printable(keyspace)} has tables under legal hold, so DROP KEYSPACE is refused`)
}

/** A hold that is enforced suspends what asks for expiry. */
function rulesOf(rules: TableRules): readonly (RetentionRule | HoldRule)[] {
  if (rules.holds.length === 0) return rules.retention
  return rules.holds.some(({ observe }) => !observe) ? rules.holds : [...rules.holds, ...rules.retention]
}

interface JudgedTtl {
  readonly minSeconds: number
  readonly maxSeconds: number | undefined
  readonly text: string
  /** Whether a write may leave its TTL to the table's default; undefined where that is not known. */
  admitsDefault(seconds: number | undefined): boolean
}

function retentionTtl({ maxSeconds, required }: RetentionRule, rules: TableRules): JudgedTtl {
  const missing = required ? ', and may not be missing' : ''
  return {
    minSeconds: 1,
    maxSeconds,
    text: `TTL of ${rules.label} must be ${rangeText(1, maxSeconds)}${missing}`,
    admitsDefault: (seconds) => !required || (seconds !== undefined && isWithin(seconds, 1, maxSeconds)),
  }
}

function holdTtl(rules: TableRules): JudgedTtl {
  return {
    minSeconds: 0,
    maxSeconds: 0,
    text: heldText(rules, 'no row may expire: TTL and default_time_to_live must be 0 or missing'),
    admitsDefault: (seconds) => seconds === 0,
  }
}

/**
 * Whether ALTER TABLE names columns that are there: what it adds is not. DROP of a column does; so do RENAME and MASKED WITH, which
 * the facts do not tell apart from it.
 */
function changesColumns({ accesses }: StatementFacts, table: TableInfo | undefined): boolean {
  const known = new Set(table?.columns)
  return accesses.some(({ permission, columns }) => {
    if (permission !== 'ALTER') return false
    return columns === '*' || columns.some((column) => table === undefined || known.has(column))
  })
}

function isWithin(seconds: number, min: number, max: number | undefined): boolean {
  return seconds >= min && (max === undefined || seconds <= max)
}

function rangeText(min: number, max: number | undefined): string {
  return max === undefined ? `at least ${min} second` : `at least ${min} and at most ${max} seconds`
}

function heldText(rules: TableRules, consequence: string): string {
  return `${rules.label} is under legal hold: ${consequence}`
}
