import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../cql/statement/analyse.ts'
import type { Visibility } from '../policy/engine.ts'
import { BoundValues } from './bound.ts'
import { isVisible, type RowTest, rowTestOf } from './visible.ts'

/** Sees shop.orders, the function shop.sum and the keyspaces shop and system. */
const some: Visibility = {
  all: false,
  keyspace: (name) => name === 'shop' || name === 'system',
  table: (keyspace, name) => keyspace === 'shop' && name === 'orders',
  function: (keyspace, name) => keyspace === 'shop' && name === 'sum',
}
const testOf = (text: string): RowTest | undefined => rowTestOf(analyse(text), new BoundValues())
const seen = (text: string, row: Record<string, string>): boolean => {
  const test = testOf(text)
  assert.ok(test, text)
  return isVisible(test, some, (column) => row[column] ?? null)
}

describe('rows about the schema', () => {
  it('are shown for visible keyspaces and objects only', () => {
    const tables = 'SELECT * FROM system_schema.tables'
    assert.equal(seen(tables, { keyspace_name: 'shop', table_name: 'orders' }), true)
    assert.equal(seen(tables, { keyspace_name: 'shop', table_name: 'cards' }), false)
    assert.equal(seen(tables, { keyspace_name: 'other', table_name: 'orders' }), false)
    assert.equal(seen('SELECT * FROM system_schema.keyspaces', { keyspace_name: 'shop' }), true)
    assert.equal(seen('SELECT * FROM system_schema.keyspaces', { keyspace_name: 'other' }), false)
    const functions = 'SELECT * FROM system_schema.functions'
    assert.equal(seen(functions, { keyspace_name: 'shop', function_name: 'sum' }), true)
    assert.equal(seen(functions, { keyspace_name: 'shop', function_name: 'orders' }), false)
    assert.equal(seen('SELECT * FROM system_schema.views', { keyspace_name: 'shop', view_name: 'cards' }), false)
  })

  it('may have their keyspace and object fixed by WHERE', () => {
    const one = "SELECT id FROM system_schema.tables WHERE keyspace_name = 'shop' AND table_name = 'orders'"
    assert.equal(seen(one, {}), true)
    assert.equal(seen(one.replace('orders', 'cards'), {}), false)
    assert.equal(seen("SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = 'other'", {}), false)
    assert.equal(
      seen("SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'shop'", { table_name: 'cards' }),
      false,
    )
  })

  it('are not asked for in a way that hides what they are about', () => {
    for (const text of [
      'SELECT count(*) FROM system_schema.tables',
      'SELECT JSON * FROM system_schema.tables',
      'SELECT table_name FROM system_schema.tables',
      'SELECT keyspace_name FROM system_schema.tables',
      "SELECT id FROM system_schema.tables WHERE keyspace_name = 'shop'",
      "SELECT id FROM system_schema.tables WHERE keyspace_name IN ('shop') AND table_name = 'orders'",
      'SELECT max(table_name), keyspace_name FROM system_schema.tables',
      'SELECT * FROM system_schema.something_new',
    ]) {
      assert.equal(testOf(text), undefined, text)
    }
  })

  it('of DESCRIBE go by the kind of their object', () => {
    const row = (type: string, name: string, keyspace = 'shop') =>
      seen('DESCRIBE KEYSPACE shop', { keyspace_name: keyspace, type, name })
    assert.equal(row('keyspace', 'shop'), true)
    assert.equal(row('table', 'orders'), true)
    assert.equal(row('table', 'cards'), false)
    assert.equal(row('materialized_view', 'cards'), false)
    assert.equal(row('function', 'sum'), true)
    assert.equal(row('type', 'address'), true)
    assert.equal(row('type', 'address', 'other'), false)
    assert.equal(row('index', 'by_name'), false)
    assert.equal(row('', ''), false)
  })
})
