/**
 * Masked columns. A masked column may be shown, hidden; every other use of it tells something of what it holds, and is refused.
 */
import type { StatementFacts } from '../../cql/statement/facts.ts'
import { matchesSpiffePattern } from '../../identity/spiffe.ts'
import { matchesName } from '../names.ts'
import type { Principal } from '../policy.ts'
import type { TableInfo } from '../request.ts'
import type { Findings } from './findings.ts'
import type { TableLaw, TableMask } from './law.ts'
import { printable } from './words.ts'

export interface MaskedRead {
  readonly principal: Principal
  /** A SELECT, or a write with IF. */
  readonly facts: StatementFacts
  readonly law: TableLaw
  /** Undefined when the table is not known: then it might be a view of any other. */
  readonly table: TableInfo | undefined
  /** The principal may see the column as it is (UNMASK). */
  readonly unmasked: (column: string | '*') => boolean
}

export function judgeMasks(findings: Findings, read: MaskedRead): void {
  const { principal, law, table } = read
  const masks = (table === undefined ? law.keyspaceMasks : law.masks).filter((mask) => binds(mask, principal))
  if (masks.length === 0) return
  if (table === undefined) judgeUnknown(findings, read, masks)
  else judgeKnown(findings, read, masks, table)
}

function judgeKnown(findings: Findings, read: MaskedRead, masks: readonly TableMask[], table: TableInfo): void {
  const { facts, law, unmasked } = read
  const { selection } = facts
  const isSelect = facts.verb === 'SELECT'
  const mentioned = mentionedIn(read)
  // The answer of a failed condition shows the row, or the key and the condition's columns.
  const shown = new Set(isSelect && selection !== '*' ? (selection ?? []) : table.columns)
  const used = new Set(facts.columnsUsed)
  if (isSelect && selection === undefined) {
    for (const column of mentioned === '*' ? table.columns : mentioned) used.add(column)
  } else if (isSelect && mentioned !== '*') {
    for (const column of mentioned) if (!shown.has(column)) used.add(column)
  }
  for (const column of new Set([...used, ...shown])) {
    if (column === undefined) continue
    const covering = masks.filter(({ columns }) => covers(columns, column))
    if (covering.length === 0 || unmasked(column)) continue
    if (used.has(column)) {
      const text = `column ${printable(column)} of ${law.label} is masked, so it may only be selected as it stands`
      for (const { rule } of covering) findings.refuse(rule, text)
    } else for (const { rule } of covering) findings.hide(column, rule, rule.mask)
  }
}

function judgeUnknown(findings: Findings, read: MaskedRead, masks: readonly TableMask[]): void {
  const mentioned = mentionedIn(read)
  const columns = mentioned === '*' ? (['*'] as const) : mentioned
  const text = `the columns of ${read.law.label} are not known, so they cannot be masked`
  for (const column of columns) {
    const covering = masks.filter((mask) => mentioned === '*' || covers(mask.columns, column))
    if (covering.length === 0 || read.unmasked(column)) continue
    for (const { rule } of covering) findings.refuse(rule, text)
  }
}

/** Every column that the statement reads of its table, and those that the facts say it uses. */
function mentionedIn({ facts }: MaskedRead): readonly string[] | '*' {
  const mentioned = [...facts.columnsUsed]
  for (const { permission, resource, columns } of facts.accesses) {
    if (permission !== 'SELECT' || resource.kind !== 'table') continue
    if (resource.keyspace !== facts.keyspace || resource.table !== facts.table) continue
    if (columns === '*') return '*'
    mentioned.push(...columns)
  }
  return mentioned
}

function binds({ rule }: TableMask, { spiffeId }: Principal): boolean {
  if (rule.exceptSubjects.some((pattern) => matchesSpiffePattern(pattern, spiffeId))) return false
  return rule.subjects?.some((pattern) => matchesSpiffePattern(pattern, spiffeId)) ?? true
}

function covers(patterns: readonly string[] | undefined, column: string): boolean {
  return patterns?.some((pattern) => matchesName(pattern, column)) ?? true
}
