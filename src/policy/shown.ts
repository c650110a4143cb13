/** What an answer may show beside what the data rules of a policy ask for. */
import type { StatementFacts } from '../cql/statement/facts.ts'
import { builtinChecks } from './data/rules.ts'
import type { Obligations } from './obligations.ts'
import type { SchemaView } from './request.ts'
import type { Verdicts } from './verdicts.ts'

export const noObligations: Obligations = { checks: builtinChecks, masks: [], visibleOnly: false }
const onlyVisibleObligations: Obligations = { ...noObligations, visibleOnly: true }

export function onlyVisible(obligations: Obligations | undefined): Obligations {
  return obligations === undefined ? onlyVisibleObligations : { ...obligations, visibleOnly: true }
}

/** Adds the columns that the decision rests on, where an answer may show others. */
export function withColumns(
  obligations: Obligations | undefined,
  verdicts: Verdicts,
  facts: StatementFacts,
  schema: SchemaView | undefined,
): Obligations | undefined {
  const rows = wholeRows(facts)
  if (schema === undefined || rows?.keyspace === undefined || rows.table === undefined) return obligations
  const { keyspace, table } = rows
  const info = schema.table(keyspace, table)
  const { masks, keyspaceMasks } = verdicts.policy.data.of(keyspace, table, info?.base)
  if ((info === undefined ? keyspaceMasks : masks).length === 0 && !verdicts.forbidsColumns) return obligations
  return { ...(obligations ?? noObligations), columns: info?.columns ?? [] }
}

/** What answers with rows as a whole: `SELECT *`, or the condition of a write. */
function wholeRows(facts: StatementFacts): StatementFacts | undefined {
  if (facts.verb === 'BATCH')
    return facts.conditional ? facts.children.find(({ conditional }) => conditional) : undefined
  if (facts.conditional || facts.selection === '*') return facts
  // JSON shows no columns of its own, so it is all of them where any could be meant.
  const isAll = facts.accesses.some(({ permission, columns }) => permission === 'SELECT' && columns === '*')
  return facts.verb === 'SELECT' && facts.selection === undefined && isAll ? facts : undefined
}
