/**
 * What the node read in a statement, held against what we read: PREPARED names the table of each marker and of each column that will be
 * shown. Two readers that disagree about a statement are the oldest way round a firewall.
 */
import type { Column, Prepared } from '../cql/responses.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'

/** False when the node names a table in a statement on data that we did not see there. */
export function confirms(facts: StatementFacts, { bind, result }: Prepared): boolean {
  if (!onData.has(facts.verb)) return true
  const tables = new Set<string>()
  addTables(tables, facts)
  if (facts.verb === 'BATCH') tables.add(ofBatch)
  let last: Column | undefined
  const known = (column: Column): boolean => {
    // One table for all of tens of thousands of columns, as a rule.
    if (last?.keyspace === column.keyspace && last.table === column.table) return true
    last = tables.has(nameOf(column.keyspace, column.table)) ? column : undefined
    return last !== undefined
  }
  return bind.columns.every(known) && (facts.verb !== 'SELECT' || result.columns.every(known))
}

/** What the node calls the table of the markers in a BATCH's own USING (`BatchStatement.Parsed.prepare`). */
const ofBatch = nameOf('[batch]', '[batch]')

/** The others answer with rows of the node's own making. */
const onData: ReadonlySet<string> = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'BATCH'])

function addTables(tables: Set<string>, { accesses, children }: StatementFacts): void {
  for (const { resource } of accesses) {
    if (resource.kind === 'table') tables.add(nameOf(resource.keyspace ?? '', resource.table))
  }
  // Statements of the same facts are one object.
  for (const child of new Set(children)) addTables(tables, child)
}

function nameOf(keyspace: string, table: string): string {
  return JSON.stringify([keyspace, table])
}
