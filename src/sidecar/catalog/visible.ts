/**
 * The tables about the schema, and which of their rows exist for an identity: those about what it may see. What is hidden and what does
 * not exist look alike (attacks C9, C10).
 *
 * Rule: a row exists where every object that it names may be seen, and a view may be seen where its base table may be too. Of a table that is
 * not known here nothing is shown to an identity that may not see everything.
 */
import type { RowView, TableShape } from '../../cql/query/table.ts'
import type { Visibility } from '../../policy/engine.ts'

export interface SchemaTable {
  readonly keyspace: string
  readonly name: string
  readonly isVirtual: boolean
  /** The partition key's only column, then the clustering key. */
  readonly key: readonly string[]
  /** The columns that name what a row is about and what it is made of, in its keyspace: all of them must be visible. */
  readonly objects: readonly string[]
  readonly kind: 'table' | 'function'
  /** The columns that name a function of any keyspace, which must be visible too: its keyspace, its name. */
  readonly functionOf?: readonly [string, string]
}

const table = (keyspace: string, name: string, key: string, objects = '', kind: SchemaTable['kind'] = 'table') => ({
  keyspace,
  name,
  isVirtual: keyspace === 'system_virtual_schema',
  key: ['keyspace_name', ...key.split(' ')].filter((column) => column !== ''),
  objects: objects.split(' ').filter((column) => column !== ''),
  kind,
})

const known: readonly SchemaTable[] = [
  table('system_schema', 'keyspaces', ''),
  table('system_schema', 'tables', 'table_name', 'table_name'),
  table('system_schema', 'columns', 'table_name column_name', 'table_name'),
  {
    ...table('system_schema', 'column_masks', 'table_name column_name', 'table_name'),
    functionOf: ['function_keyspace', 'function_name'],
  },
  table('system_schema', 'dropped_columns', 'table_name column_name', 'table_name'),
  table('system_schema', 'triggers', 'table_name trigger_name', 'table_name'),
  table('system_schema', 'indexes', 'table_name index_name', 'table_name'),
  table('system_schema', 'views', 'view_name', 'view_name base_table_name'),
  table('system_schema', 'types', 'type_name'),
  table('system_schema', 'functions', 'function_name argument_types', 'function_name', 'function'),
  table(
    'system_schema',
    'aggregates',
    'aggregate_name argument_types',
    'aggregate_name state_func final_func',
    'function',
  ),
  table('system_virtual_schema', 'keyspaces', ''),
  table('system_virtual_schema', 'tables', 'table_name', 'table_name'),
  table('system_virtual_schema', 'columns', 'table_name column_name', 'table_name'),
]

const byName = new Map(known.map((each) => [`${each.keyspace}.${each.name}`, each]))

export function schemaTable(keyspace: string | undefined, name: string | undefined): SchemaTable | undefined {
  return byName.get(`${keyspace}.${name}`)
}

/** The base table of a view; undefined for what is none. */
export type BaseOf = (keyspace: string, view: string) => string | undefined

export const noViews: BaseOf = () => undefined

/** Whether its rows may be about views without saying of which table. */
export function namesViews({ name, isVirtual, objects }: SchemaTable): boolean {
  return !isVirtual && name !== 'tables' && objects.includes('table_name')
}

/** A view is there for whoever may see its base table: without that there could be none. */
export function seesTable(visibility: Visibility, keyspace: string, name: string, base: string | undefined): boolean {
  return visibility.table(keyspace, name) && (base === undefined || visibility.table(keyspace, base))
}

/** Whether a row exists, asked of each row in its place. Rows of an object stand together, so the last answer is remembered. */
export function existing(
  { objects, kind, functionOf }: SchemaTable,
  shape: TableShape,
  visibility: Visibility,
  baseOf: BaseOf,
): (row: RowView) => boolean {
  const keyspaceAt = shape.columns.findIndex(({ name }) => name === 'keyspace_name')
  const placeOf = (column: string): number => shape.columns.findIndex(({ name }) => name === column)
  const objectAt = objects.map(placeOf)
  const [ofKeyspaceAt = -1, calledAt = -1] = functionOf?.map(placeOf) ?? []
  let keyspaceBytes: Buffer = Buffer.alloc(0)
  let keyspace = ''
  let keyspaceVisible = visibility.keyspace('')
  return (row) => {
    const bytes = row.cell(keyspaceAt)
    if (bytes === null) return false
    if (!bytes.equals(keyspaceBytes)) {
      keyspaceBytes = bytes
      keyspace = bytes.toString()
      keyspaceVisible = visibility.keyspace(keyspace)
    }
    if (!keyspaceVisible) return false
    for (const index of objectAt) {
      const name = row.cell(index)?.toString()
      // An aggregate may have no final function; what a row is about is in its key, and never null.
      if (name === undefined) continue
      const isSeen =
        kind === 'function'
          ? visibility.function(keyspace, name)
          : seesTable(visibility, keyspace, name, baseOf(keyspace, name))
      if (!isSeen) return false
    }
    if (ofKeyspaceAt < 0 || calledAt < 0) return true
    const ofKeyspace = row.cell(ofKeyspaceAt)?.toString()
    const called = row.cell(calledAt)?.toString()
    return ofKeyspace === undefined || called === undefined || visibility.function(ofKeyspace, called)
  }
}
