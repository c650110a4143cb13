/**
 * Statements about tables, columns and functions that nobody has. Cassandra answers them INVALID before it asks who may. Some drivers ask only
 * to hear that, such as for `system_schema.scylla_tables`.
 *
 * Rule: this is so in Cassandra's own keyspaces only, whose tables are the same for everybody and no secret. In any other keyspace a table may
 * be there and hidden, and the refusal never tells.
 */
import { printable } from '../base/printable.ts'
import type { Describe } from '../cql/statement/ast.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import type { Denial } from '../policy/engine.ts'
import type { TableInfo } from '../policy/request.ts'
import type { TouchedSchema } from './touched.ts'

const nothingThereRule = 'nothing-there'

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
export const verbsOnTables: ReadonlySet<string> = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE'])

/**
 * The answer that takes a denial's place, or undefined where something may be there. `facts` must be resolved. Of a BATCH one such
 * statement is enough: Cassandra prepares them all before it asks who may.
 */
export function nothingThere(facts: StatementFacts, schema: TouchedSchema, revision: number): Denial | undefined {
  const { verb, keyspace, table } = facts
  if (verbsOnTables.has(verb) && keyspace !== undefined && table !== undefined) {
    if (!fixedKeyspaces.has(keyspace)) return undefined
    const info = schema.table(keyspace, table)
    if (info !== undefined) {
      const reason = unknownName(facts, info, schema)
      return reason === undefined ? undefined : nothing(reason, revision)
    }
    // A schema that is not read yet has no table at all.
    if (!knows(schema, keyspace)) return undefined
    return notThere(table, revision)
  }
  for (const child of new Set(facts.children)) {
    const found = nothingThere(child, schema, revision)
    if (found !== undefined) return found
  }
  return undefined
}

/** Of the statement's own table: a column that it has not, or a function that would have to be in its keyspace. */
function unknownName(
  { accesses, keyspace, table }: StatementFacts,
  { columns }: TableInfo,
  schema: TouchedSchema,
): string | undefined {
  for (const { permission, resource, columns: named } of accesses) {
    if (resource.kind === 'table' && resource.keyspace === keyspace && resource.table === table && named !== '*') {
      const known = new Set(columns)
      const unknown = named.find((column) => !known.has(column))
      if (unknown !== undefined) return `undefined column name ${printable(unknown)} in table ${keyspace}.${table}`
    }
    const isFunction = permission === 'EXECUTE' && resource.kind === 'function' && resource.keyspace === keyspace
    if (isFunction && schema.hasFunction?.(keyspace!, resource.name) !== true) {
      return `unknown function ${printable(resource.name)}`
    }
  }
  return undefined
}

/** As `nothingThere`, of a DESCRIBE: Cassandra asks nobody's permission for one. `message` is what it says where there is nothing. */
export function nothingDescribed(
  { what, name }: Describe,
  schema: TouchedSchema,
  message: string,
  revision: number,
): Denial | undefined {
  const keyspace = name?.keyspace
  if (name === undefined || keyspace === undefined || !fixedKeyspaces.has(keyspace) || !knows(schema, keyspace)) {
    return undefined
  }
  const table = schema.table(keyspace, name.name)
  const isThere =
    (table !== undefined && (what === 'ANY' || what === 'TABLE' || table.base !== undefined)) ||
    schema.indexedTable(keyspace, name.name) !== undefined ||
    schema.hasFunction?.(keyspace, name.name) === true
  return isThere ? undefined : nothing(message, revision)
}

export function notThere(table: string, revision: number): Denial {
  return nothing(`table ${printable(table)} does not exist`, revision)
}

function nothing(reason: string, revision: number): Denial {
  return { kind: 'denial', rule: nothingThereRule, reason, revision, invalid: true }
}

function knows(schema: TouchedSchema, keyspace: string): boolean {
  for (const _ of schema.tablesOf?.(keyspace) ?? []) return true
  return false
}
