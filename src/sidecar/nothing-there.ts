/**
 * Statements about tables that nobody has: in Cassandra's own keyspaces, whose tables are the same for everybody and no secret. Cassandra
 * answers them INVALID before it asks who may, and drivers of other databases' editions ask just to hear that
 * (`system_schema.scylla_tables`). In any other keyspace a table may be there and hidden: the refusal never tells.
 */
import { printable } from '../base/printable.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import type { Denial, Visibility } from '../policy/engine.ts'
import type { SchemaView } from '../policy/request.ts'
import { seesTable } from './catalog/visible.ts'
import type { TouchedSchema } from './touched.ts'

export const nothingThereRule = 'nothing-there'

/**
 * Cassandra's `schema/SchemaConstants` less `system_metrics`, which is new in 5.1, so that an older node may have a keyspace of users' so
 * named. No client can make a table in them, or a keyspace of one of these names.
 */
const fixedKeyspaces: ReadonlySet<string> = new Set([
  'system',
  'system_schema',
  'system_auth',
  'system_distributed',
  'system_traces',
  'system_views',
  'system_virtual_schema',
])

/** Those that look for their table before they ask who may; TRUNCATE and DDL ask first. */
const verbs: ReadonlySet<string> = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE'])

/**
 * The answer that takes a denial's place, or undefined where something may be there. `facts` must be resolved. Of a BATCH one such
 * statement is enough: Cassandra prepares them all before it asks who may.
 */
export function nothingThere(
  { verb, keyspace, table, children }: StatementFacts,
  schema: TouchedSchema,
  revision: number,
): Denial | undefined {
  if (verbs.has(verb) && keyspace !== undefined && table !== undefined) {
    if (!fixedKeyspaces.has(keyspace) || schema.table(keyspace, table) !== undefined) return undefined
    // A schema that is not read yet has no table at all.
    if (!knows(schema, keyspace)) return undefined
    return notThere(table, revision)
  }
  for (const child of new Set(children)) {
    const found = nothingThere(child, schema, revision)
    if (found !== undefined) return found
  }
  return undefined
}

export function notThere(table: string, revision: number): Denial {
  const reason = `table ${printable(table)} does not exist`
  return { kind: 'denial', rule: nothingThereRule, reason, revision, invalid: true }
}

/** Those that name a table or view which is there: of a view the node would do or say something else than of nothing. */
const verbsOnViews: ReadonlySet<string> = new Set([
  ...verbs,
  'TRUNCATE',
  'ALTER TABLE',
  'DROP TABLE',
  'ALTER MATERIALIZED VIEW',
  'DROP MATERIALIZED VIEW',
  'CREATE INDEX',
  'CREATE TRIGGER',
  'DROP TRIGGER',
  'GRANT',
  'REVOKE',
])

/**
 * A view that a statement names, whose base table is hidden from whoever asks: it is not there for them, as in all that is told about the
 * schema. A refusal would name the base, and the node says of a write that this is a view.
 */
export function hiddenView(
  { verb, keyspace, table, children }: StatementFacts,
  schema: SchemaView,
  visibility: Visibility,
): string | undefined {
  if (verbsOnViews.has(verb) && keyspace !== undefined && table !== undefined) {
    const base = schema.table(keyspace, table)?.base
    if (base === undefined || seesTable(visibility, keyspace, table, base)) return undefined
    return table
  }
  for (const child of new Set(children)) {
    const found = hiddenView(child, schema, visibility)
    if (found !== undefined) return found
  }
  return undefined
}

/** The schema as it is for them. */
export function withoutHiddenViews(schema: SchemaView, visibility: Visibility): SchemaView {
  return {
    table: (keyspace, name) => {
      const info = schema.table(keyspace, name)
      return info?.base === undefined || seesTable(visibility, keyspace, name, info.base) ? info : undefined
    },
    indexedTable: (keyspace, index) => schema.indexedTable(keyspace, index),
    hasFunction: (keyspace, name) => schema.hasFunction?.(keyspace, name) === true,
  }
}

function knows(schema: TouchedSchema, keyspace: string): boolean {
  for (const _ of schema.tablesOf?.(keyspace) ?? []) return true
  return false
}
