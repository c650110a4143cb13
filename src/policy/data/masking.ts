/**
 * Masked columns. A SELECT may show a masked column, as masked. Every other use would tell something of its values, and is refused.
 */
import type { StatementFacts } from '../../cql/statement/facts.ts'
import { matchesName, NameClasses } from '../names.ts'
import { type Steps, whenAnswered } from '../pace.ts'
import type { Party } from '../principal.ts'
import { listsIndexed } from '../refine.ts'
import type { TableInfo } from '../request.ts'
import { namesParty } from '../subjects.ts'
import type { Findings } from './findings.ts'
import type { TableMask, TableRules } from './rules.ts'
import { printable } from './words.ts'

/** Between two looks at the clock: questions whether a mask covers a column, of some 20 ns each. */
const masksAStep = 2048
/** And as many of them a column that is covered costs, for it is asked who may see it. */
const coveredCost = 32

export interface MaskedRead {
  readonly party: Party
  /** A SELECT or a write; or a view, index or RENAME, of which only `columnsUsed` counts. */
  readonly facts: StatementFacts
  readonly rules: TableRules
  /** Undefined when the table is not known: then it might be a view of any other. */
  readonly table: TableInfo | undefined
  /** The party may see the column as it is (UNMASK). */
  readonly unmasked: (column: string | '*') => boolean
}

export function* judgeMasks(findings: Findings, read: MaskedRead): Steps<void> {
  const { party, rules, table } = read
  const masks = (table === undefined ? rules.keyspaceMasks : rules.masks).filter((mask) => binds(mask, party))
  if (masks.length === 0) return
  if (table === undefined) yield* judgeUnknown(findings, read, masks)
  else yield* judgeKnown(findings, read, masks, table)
}

function* judgeKnown(findings: Findings, read: MaskedRead, masks: readonly TableMask[], table: TableInfo): Steps<void> {
  const { facts, rules, unmasked } = read
  const { selection } = facts
  const isSelect = facts.verb === 'SELECT'
  const mentioned = mentionedIn(read)
  // The answer of a failed condition shows the row, or the key and the condition's columns; that of any other write shows nothing.
  const answered = isSelect || (facts.conditional && findings.showsFirst(read.party, rules)) ? table.columns : []
  const shown = new Set(isSelect && selection !== '*' ? (selection ?? []) : answered)
  const used = new Set(facts.columnsUsed)
  for (const column of comparedByWrite(facts, table)) used.add(column)
  if (isSelect && selection === undefined) {
    for (const column of mentioned === '*' ? table.columns : mentioned) used.add(column)
    // A row as JSON cannot be masked: a column that was added a moment ago would be inside.
    if (mentioned === '*') for (const { columns } of masks) for (const column of columns ?? []) used.add(column)
  } else if (isSelect && mentioned !== '*') {
    for (const column of mentioned) if (!shown.has(column)) used.add(column)
  }
  let looked = 0
  for (const column of new Set([...used, ...shown])) {
    if (column === undefined) continue
    looked += masks.length
    if (looked >= masksAStep) {
      looked = 0
      yield false
    }
    const covering = masks.filter(({ columns }) => covers(columns, column))
    if (covering.length === 0) continue
    looked += coveredCost
    if (yield* whenAnswered(() => unmasked(column.endsWith('*') ? '*' : column))) continue
    if (used.has(column)) {
      const text = `column ${printable(column)} of ${rules.label} is masked, so it may only be selected as it stands`
      for (const { rule } of covering) findings.refuse(rule, text)
    } else for (const { rule } of covering) findings.hide(column, rule, rule.mask)
  }
}

function* judgeUnknown(findings: Findings, read: MaskedRead, masks: readonly TableMask[]): Steps<void> {
  const mentioned = mentionedIn(read)
  const columns = mentioned === '*' ? ['*'] : [...mentioned, ...comparedByWrite(read.facts, undefined)]
  const text = `the columns of ${read.rules.label} are not known, so they cannot be masked`
  let looked = 0
  for (const column of columns) {
    looked += masks.length
    if (looked >= masksAStep) {
      looked = 0
      yield false
    }
    const covering = masks.filter((mask) => mentioned === '*' || covers(mask.columns, column))
    if (covering.length === 0) continue
    looked += coveredCost
    if (yield* whenAnswered(() => read.unmasked(column))) continue
    for (const { rule } of covering) findings.refuse(rule, text)
  }
}

/**
 * Columns whose values a write compares with those that are there. That is its key: whether there is such a row shows afterwards. And it is
 * a list of which it sets or deletes an element by its place: an error tells how long the list is.
 */
function comparedByWrite(facts: StatementFacts, table: TableInfo | undefined): Iterable<string> {
  const { verb, restrictions, accesses, assignments } = facts
  if (verb !== 'INSERT' && verb !== 'UPDATE' && verb !== 'DELETE') return []
  const compared = new Set(table === undefined ? [] : listsIndexed(assignments, table))
  const key = new Set(table === undefined ? [] : [...table.partitionKey, ...table.clusteringKey])
  const isJson = accesses.some(({ permission, columns }) => permission === 'MODIFY' && columns === '*')
  if (verb === 'INSERT' && isJson) return [...compared, ...key]
  for (const { columns } of restrictions) {
    for (const column of columns) if (verb !== 'INSERT' || key.has(column)) compared.add(column)
  }
  return compared
}

/** Every column that the statement reads of its table, and those that the facts say it uses. */
function mentionedIn({ facts }: MaskedRead): readonly string[] | '*' {
  const mentioned = [...facts.columnsUsed]
  for (const { permission, resource, columns } of facts.accesses) {
    if (permission !== 'SELECT' || resource.kind !== 'table') continue
    if (resource.keyspace !== facts.keyspace || resource.table !== facts.table) continue
    if (columns === '*') return '*'
    for (const column of columns) mentioned.push(column)
  }
  return mentioned
}

function binds({ rule }: TableMask, party: Party): boolean {
  if (namesParty(rule.exceptSubjects, party)) return false
  return rule.subjects === undefined || namesParty(rule.subjects, party)
}

/** Of longer lists of patterns, which may have thousands. No LRU: they go with their policy. */
const classesOf = new WeakMap<readonly string[], NameClasses>()
const listMax = 8

function covers(patterns: readonly string[] | undefined, column: string): boolean {
  if (patterns === undefined) return true
  if (patterns.length <= listMax) return patterns.some((pattern) => matchesName(pattern, column))
  let classes = classesOf.get(patterns)
  if (classes === undefined) {
    classes = new NameClasses()
    classes.add(patterns)
    classesOf.set(patterns, classes)
  }
  return classes.has(column)
}
