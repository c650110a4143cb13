/**
 * Every table that a statement touches, for the record: what it names, and what the node reads or writes with it.
 *
 * Rule: a table is left out nowhere. A view stands beside its base table, whichever of them is named; DROP KEYSPACE touches all that is in it.
 */
import type { StatementFacts } from '../cql/statement/facts.ts'
import { refine } from '../policy/refine.ts'
import type { SchemaView } from '../policy/request.ts'

/** What the sidecar's schema knows beside what policy asks it. */
export interface TouchedSchema extends SchemaView {
  /** Names of the views of a table. */
  viewsOf?(keyspace: string, table: string): readonly string[]
  /** Names of tables and views. */
  tablesOf?(keyspace: string): Iterable<string>
}

/** The cluster's schema as it was last read. */
export interface SchemaSource {
  readonly view: TouchedSchema
  /** Grows with every change. */
  readonly epoch: number
}

/** As CQL writes them, `keyspace.table`, each once. */
export function touchedTables(facts: StatementFacts, schema: TouchedSchema): string[] {
  const found = new Set<string>()
  const seen = new Set<StatementFacts>()
  for (const one of [facts, ...facts.children]) {
    if (seen.has(one)) continue
    seen.add(one)
    addTables(found, one, schema)
  }
  return [...found]
}

function addTables(found: Set<string>, facts: StatementFacts, schema: TouchedSchema): void {
  const add = (keyspace: string, table: string, reads: boolean): void => {
    found.add(tableName(keyspace, table))
    const base = schema.table(keyspace, table)?.base
    if (base !== undefined) found.add(tableName(keyspace, base))
    if (reads) return
    for (const view of schema.viewsOf?.(keyspace, table) ?? []) found.add(tableName(keyspace, view))
  }
  const { verb, keyspace, table } = facts
  // The table of an index is known to the schema only.
  const { accesses } = verb === 'DROP INDEX' ? refine(facts, schema) : facts
  for (const { permission, resource } of accesses) {
    if (resource.kind !== 'table' || resource.keyspace === undefined) continue
    const reads = permission === 'SELECT' || permission === 'SCAN' || permission === 'DESCRIBE'
    add(resource.keyspace, resource.table, reads)
  }
  // CREATE TRIGGER needs a permission on the cluster, and is about a table.
  if (table !== undefined && keyspace !== undefined) add(keyspace, table, verb === 'SELECT' || isDescribe(verb))
  if (verb === 'DROP KEYSPACE' && keyspace !== undefined) {
    for (const name of schema.tablesOf?.(keyspace) ?? []) found.add(tableName(keyspace, name))
  }
}

function isDescribe(verb: string): boolean {
  return verb.startsWith('DESCRIBE')
}

export function tableName(keyspace: string, table: string): string {
  return `${identifier(keyspace)}.${identifier(table)}`
}

/** A name that is no plain identifier stands in double quotes, so that a dot in it is seen as a part of it. */
function identifier(name: string): string {
  return /^[a-z][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`
}
