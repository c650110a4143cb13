/**
 * Rows about the schema, and what of them an identity may see: `system_schema`, `system_virtual_schema` and the answers of DESCRIBE.
 * The node answers such a question; rows about objects that the identity may not see are taken out of its answer, so that what is hidden
 * and what does not exist look alike (attacks C9, C10).
 *
 * Rule: a row whose object cannot be told from the answer or from WHERE is not shown, so the question is refused.
 */
import type { RestrictingValue, StatementFacts } from '../cql/statement/facts.ts'
import type { Visibility } from '../policy/engine.ts'
import type { BoundValues } from './bound.ts'

/** Which column of a schema table names the object beside the keyspace; undefined where the keyspace says it all. */
const objectColumns: ReadonlyMap<string, string | undefined> = new Map([
  ['keyspaces', undefined],
  ['types', undefined],
  ['tables', 'table_name'],
  ['columns', 'table_name'],
  ['column_masks', 'table_name'],
  ['dropped_columns', 'table_name'],
  ['indexes', 'table_name'],
  ['triggers', 'table_name'],
  ['views', 'view_name'],
  ['functions', 'function_name'],
  ['aggregates', 'aggregate_name'],
])
const functionTables: ReadonlySet<string> = new Set(['functions', 'aggregates'])

/** Where a name comes from: a place in each row, or the same for all rows. */
type Source = { readonly column: string } | { readonly value: string }

export interface RowTest {
  readonly keyspace: Source
  readonly object: Source | undefined
  readonly kind: 'table' | 'function' | 'describe'
}

/** How rows of the answer are told apart; undefined where they cannot be, and the question has to be refused. */
export function rowTestOf(facts: StatementFacts, values: BoundValues): RowTest | undefined {
  if (facts.verb !== 'SELECT')
    return { keyspace: { column: 'keyspace_name' }, object: { column: 'name' }, kind: 'describe' }
  const table = facts.table ?? ''
  if (!objectColumns.has(table)) return undefined
  const keyspace = sourceOf('keyspace_name', facts, values)
  if (keyspace === undefined) return undefined
  const objectColumn = objectColumns.get(table)
  if (objectColumn === undefined) return { keyspace, object: undefined, kind: 'table' }
  const object = sourceOf(objectColumn, facts, values)
  if (object === undefined) return undefined
  return { keyspace, object, kind: functionTables.has(table) ? 'function' : 'table' }
}

/**
 * Whether a row may be seen. `read` gives the text of a column of the row by its name in the schema table.
 * A row of DESCRIBE says of what kind its object is; the text of a keyspace names none of its tables.
 */
export function isVisible(test: RowTest, visibility: Visibility, read: (column: string) => string | null): boolean {
  const nameFrom = (source: Source): string | null => ('value' in source ? source.value : read(source.column))
  const keyspace = nameFrom(test.keyspace)
  if (keyspace === null || !visibility.keyspace(keyspace)) return false
  if (test.object === undefined) return true
  const object = nameFrom(test.object)
  if (object === null) return false
  switch (test.kind === 'describe' ? read('type') : test.kind) {
    case 'table':
    case 'materialized_view':
    case 'view':
      return visibility.table(keyspace, object)
    case 'function':
    case 'aggregate':
      return visibility.function(keyspace, object)
    case 'keyspace':
    case 'type':
      return true
    default:
      // An index, or what a newer node describes.
      return visibility.all
  }
}

function sourceOf(column: string, facts: StatementFacts, values: BoundValues): Source | undefined {
  if (facts.selection === '*' || facts.selection?.includes(column)) return { column }
  for (const { columns, operator, token, values: given } of facts.restrictions) {
    if (operator !== '=' || token || columns.length !== 1 || columns[0] !== column) continue
    const value = textOf(given[0], values)
    if (value !== null) return { value }
  }
  return undefined
}

function textOf(value: RestrictingValue, values: BoundValues): string | null {
  if (value === undefined) return null
  return 'text' in value ? value.text : values.text(value.marker)
}
