/**
 * What a write takes away under legal hold. A column that gets another value is changed, which a hold lets pass. A column that gets no
 * value, and an element that goes, are deleted, whatever the verb. So is what a collection held before it is replaced: the node writes a
 * deletion of it first (`cql3/terms/…`: Setter). A null in the text is found there, a bound one in the request; where only the node knows,
 * the value counts as null.
 */
import type { Assignment, StatementFacts } from '../../cql/statement/facts.ts'
import type { RequestCheck } from '../obligations.ts'
import type { TableInfo } from '../request.ts'
import type { Findings } from './findings.ts'
import type { TableRules } from './rules.ts'
import { printable } from './words.ts'

/**
 * INSERT and UPDATE.
 * @param firstMarker as for `judgeRowLife`
 */
export function judgeRemovals(
  findings: Findings,
  rules: TableRules,
  facts: StatementFacts,
  table: TableInfo | undefined,
  firstMarker: number | undefined,
): void {
  if (rules.holds.length === 0) return
  const { label } = rules
  if (isJson(facts)) {
    const text = `${label} is under legal hold: INSERT JSON may set columns to null, so it is refused; name columns and VALUES`
    findings.refuseEach(rules.holds, text)
    return
  }
  const notNull: number[] = []
  const unset: number[] = []
  for (const assignment of facts.assignments) {
    const { column, value } = assignment
    const effect = effectOf(assignment, facts, table)
    if (effect === 'none') continue
    if (typeof value === 'string' || effect === 'removed') {
      const text = `${label} is under legal hold: nothing may be removed from column ${printable(column)}, and its value must be one that is there`
      findings.refuseEach(rules.holds, text)
    } else if (firstMarker !== undefined) (effect === 'replaced' ? unset : notNull).push(firstMarker + value.marker)
  }
  if (notNull.length + unset.length === 0) return
  const text = `${label} is under legal hold: no value may be null, and no set, list, map or user type may be replaced`
  findings.ask(
    rules.holds.map(({ name, observe }): RequestCheck => {
      return { rule: name, observe, text, test: { kind: 'nothingRemoved', notNull, unset } }
    }),
  )
}

/** `bound`: it depends on whether the bound value is null; `replaced`: on whether it is unset. */
type Effect = 'none' | 'removed' | 'replaced' | 'bound'

function effectOf({ column, part, value }: Assignment, facts: StatementFacts, table: TableInfo | undefined): Effect {
  const known = table?.definitions?.get(column)
  if (part === 'taken') return known?.type === 'counter' ? 'none' : 'removed'
  if (value === 'null' || value === 'unknown') return 'removed'
  // An element that is a collection is frozen, which makes it one value.
  if (part !== 'whole') return typeof value === 'string' ? 'none' : 'bound'
  const isNew = facts.verb === 'INSERT' && facts.conditional && known !== undefined && known.kind !== 'static'
  const isMany = known === undefined ? value === 'collection' : isMultiCell(known.type)
  if (isMany && !isNew) return typeof value === 'string' ? 'removed' : 'replaced'
  return typeof value === 'string' ? 'none' : 'bound'
}

/** INSERT JSON names no columns. */
function isJson({ verb, accesses }: StatementFacts): boolean {
  return verb === 'INSERT' && accesses.some(({ permission, columns }) => permission === 'MODIFY' && columns === '*')
}

const oneCell =
  /^(ascii|bigint|blob|boolean|counter|date|decimal|double|duration|float|inet|int|smallint|text|time|timestamp|timeuuid|tinyint|uuid|varchar|varint)$|^(frozen|tuple|vector)<|^'/

/** Collections and user types that are not frozen have a cell for each element. A type that is not known here is a user type. */
export function isMultiCell(type: string): boolean {
  return !oneCell.test(type)
}
