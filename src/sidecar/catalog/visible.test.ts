import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RowView, shapeOf, Table } from '../../cql/query/table.ts'
import { native } from '../../cql/types.ts'
import type { Visibility } from '../../policy/engine.ts'
import { existing, schemaTable } from './visible.ts'

/** Sees things that are called seen, in the keyspace shop. */
const some: Visibility = {
  all: false,
  keyspace: (name) => name === 'shop',
  table: (_, name) => name.startsWith('seen_table'),
  function: (keyspace, name) => keyspace === 'system' || name.startsWith('seen_function'),
}

const tables = {
  system_schema:
    'keyspaces tables columns column_masks dropped_columns triggers indexes views types functions aggregates',
  system_virtual_schema: 'keyspaces tables columns',
}

/** Of views. */
const bases: Readonly<Record<string, string>> = { seen_table_of_seen: 'seen_table', seen_table_of_hidden: 'hidden' }

/** Columns of Cassandra 5.0 that name an object of the row’s keyspace, beside the keyspace. */
const naming: Readonly<Record<string, 'table' | 'function'>> = {
  table_name: 'table',
  view_name: 'table',
  base_table_name: 'table',
  function_name: 'function',
  aggregate_name: 'function',
  state_func: 'function',
  final_func: 'function',
}
const columnsOf: Readonly<Record<string, readonly string[]>> = {
  keyspaces: ['keyspace_name'],
  types: ['keyspace_name', 'type_name'],
  tables: ['keyspace_name', 'table_name'],
  columns: ['keyspace_name', 'table_name', 'column_name'],
  column_masks: ['keyspace_name', 'table_name', 'column_name', 'function_keyspace', 'function_name'],
  dropped_columns: ['keyspace_name', 'table_name', 'column_name'],
  triggers: ['keyspace_name', 'table_name', 'trigger_name'],
  indexes: ['keyspace_name', 'table_name', 'index_name'],
  views: ['keyspace_name', 'view_name', 'base_table_name'],
  functions: ['keyspace_name', 'function_name'],
  aggregates: ['keyspace_name', 'aggregate_name', 'state_func', 'final_func'],
}

describe('a row about the schema', () => {
  for (const [keyspace, names] of Object.entries(tables)) {
    for (const name of names.split(' ')) {
      it(`of ${keyspace}.${name} exists where everything that it names may be seen`, () => {
        const known = schemaTable(keyspace, name)
        assert.ok(known !== undefined)
        const columns = columnsOf[name]!
        const shape = shapeOf(
          keyspace,
          name,
          columns.map((column, i) => ({
            name: column,
            type: native('text'),
            kind: i === 0 ? 'partition_key' : 'clustering',
            position: Math.max(0, i - 1),
          })),
          'murmur3',
        )
        const exists = (cells: readonly (string | null)[]): boolean => {
          const table = Table.of(shape, [cells.map((cell) => (cell === null ? null : Buffer.from(cell)))])
          return existing(known, shape, some, (_, view) => bases[view])(table.view(new RowView(columns.length), 0))
        }
        const seen = columns.map((column, i) => (i === 0 ? 'shop' : `seen_${naming[column] ?? 'x'}`))
        assert.equal(exists(seen), true)
        assert.equal(exists(seen.with(0, 'other')), false)
        for (const [i, column] of columns.entries()) {
          if (naming[column] !== undefined) assert.equal(exists(seen.with(i, 'hidden')), false, column)
          else if (i > 0) assert.equal(exists(seen.with(i, 'hidden')), true, column)
        }
        for (const [i, column] of columns.entries()) {
          if (naming[column] !== 'table') continue
          assert.equal(exists(seen.with(i, 'seen_table_of_seen')), true, column)
          assert.equal(exists(seen.with(i, 'seen_table_of_hidden')), false, column)
        }
        if (name === 'column_masks') {
          for (const native of ['mask_inner', 'hidden'])
            assert.equal(exists([...seen.slice(0, 3), 'system', native]), true)
          assert.equal(exists([...seen.slice(0, 3), null, null]), true)
        }
        if (name === 'aggregates') assert.equal(exists([...seen.slice(0, 3), null] as string[]), true)
      })
    }
  }

  it('of a table that is not known does not exist', () => {
    assert.equal(schemaTable('system_schema', 'something_new'), undefined)
    assert.equal(schemaTable('system', 'tables'), undefined)
  })
})
