import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { targetOf } from '../audit/verdict.ts'
import { analyse } from '../cql/statement/analyse.ts'
import { resolveKeyspace } from '../cql/statement/resolve.ts'
import { type KeyspaceModel, SchemaModel, type TableModel } from './schema/model.ts'
import { touchedTables } from './touched.ts'

function table(keyspace: string, name: string, base?: string): [string, TableModel] {
  const columns = ['k', 'v']
  const info = { partitionKey: ['k'], clusteringKey: [], columns, base, defaultTtlSeconds: 0 }
  return [name, { ...info, keyspace, name, definitions: new Map(), isVirtual: false }]
}

const shop: KeyspaceModel = {
  name: 'shop',
  replication: undefined,
  functions: new Set(),
  tables: new Map([
    table('shop', 'orders'),
    table('shop', 'by_day', 'orders'),
    table('shop', 'by_town', 'orders'),
    table('shop', 'items'),
    table('shop', 'Odd.Name'),
  ]),
  indexes: new Map([['orders_v_idx', 'orders']]),
  digest: 'one',
}
const schema = new SchemaModel(1, new Map([['shop', shop]]))
const orders = ['shop.orders', 'shop.by_day', 'shop.by_town']

/** One of each kind of statement, with every table that the node reads or writes for it. */
const kinds: readonly (readonly [string, readonly string[]])[] = [
  ['SELECT * FROM orders WHERE k = 1', ['shop.orders']],
  ['SELECT v FROM shop.by_day', ['shop.by_day', 'shop.orders']],
  ['SELECT JSON * FROM by_town', ['shop.by_town', 'shop.orders']],
  ['SELECT * FROM "Odd.Name"', ['shop."Odd.Name"']],
  ['SELECT * FROM not_there', ['shop.not_there']],
  ['SELECT * FROM system_schema.tables', ['system_schema.tables']],
  ['INSERT INTO orders (k) VALUES (1)', orders],
  ["INSERT INTO orders JSON '{}'", orders],
  ['UPDATE orders SET v = 1 WHERE k = 1', orders],
  ['UPDATE orders SET v = 1 WHERE k = 1 IF v = 2', orders],
  ['DELETE v FROM orders WHERE k = 1', orders],
  ['INSERT INTO items (k) VALUES (1)', ['shop.items']],
  ['TRUNCATE orders', orders],
  [
    'BEGIN BATCH INSERT INTO items (k) VALUES (1); DELETE FROM other.t WHERE k = 1; UPDATE orders SET v = 1 WHERE k = 1; APPLY BATCH',
    ['shop.items', 'other.t', ...orders],
  ],
  ['CREATE TABLE new (k int PRIMARY KEY)', ['shop.new']],
  ['ALTER TABLE orders ADD w int', orders],
  ['DROP TABLE orders', orders],
  ['CREATE INDEX i ON orders (v)', orders],
  ['DROP INDEX orders_v_idx', orders],
  ['DROP INDEX IF EXISTS shop."orders_v_idx"', orders],
  ["CREATE TRIGGER x ON orders USING 'a.b.C'", orders],
  ['DROP TRIGGER x ON orders', orders],
  [
    'CREATE MATERIALIZED VIEW by_v AS SELECT * FROM orders WHERE k IS NOT NULL AND v IS NOT NULL PRIMARY KEY (v, k)',
    ['shop.by_v', ...orders],
  ],
  ['ALTER MATERIALIZED VIEW by_day WITH comment = 1', ['shop.by_day', 'shop.orders']],
  ['DROP MATERIALIZED VIEW by_day', ['shop.by_day', 'shop.orders']],
  ['DROP KEYSPACE shop', ['shop.orders', 'shop.by_day', 'shop.by_town', 'shop.items', 'shop."Odd.Name"']],
  ['GRANT SELECT ON orders TO r', orders],
  ['REVOKE MODIFY ON TABLE items FROM r', ['shop.items']],
  ['DESCRIBE TABLE orders', ['shop.orders']],
  ['DESCRIBE MATERIALIZED VIEW by_day', ['shop.by_day', 'shop.orders']],
  ['USE shop', []],
  ["CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy'}", []],
  ['ALTER KEYSPACE shop WITH durable_writes = true', []],
  ['CREATE TYPE t (a int)', []],
  ['DROP FUNCTION f', []],
  ['CREATE ROLE r', []],
  ['GRANT SELECT ON KEYSPACE shop TO r', []],
  ['LIST ROLES', []],
  ['DESCRIBE KEYSPACE', []],
]

describe('the tables that a statement touches', () => {
  for (const [text, tables] of kinds) {
    it(text.slice(0, 70), () => {
      const found = touchedTables(resolveKeyspace(analyse(text), 'shop'), schema)
      assert.deepEqual([...found].sort(), [...tables].sort())
      assert.equal(new Set(found).size, found.length)
    })
  }

  it('are told apart however their names are quoted', () => {
    const of = (text: string): string[] => touchedTables(resolveKeyspace(analyse(text), undefined), schema)
    assert.deepEqual(of('SELECT * FROM "a.b".c'), ['"a.b".c'])
    assert.deepEqual(of('SELECT * FROM a."b.c"'), ['a."b.c"'])
    assert.deepEqual(of('SELECT * FROM "a""b"."C"'), ['"a""b"."C"'])
  })

  it('are as many as there are in a large BATCH', () => {
    const parts = Array.from({ length: 500 }, (_, i) => `INSERT INTO shop.t${i} (k) VALUES (1);`)
    const found = touchedTables(analyse(`BEGIN BATCH ${parts.join(' ')} APPLY BATCH`), schema)
    assert.deepEqual(
      found,
      [...Array(500).keys()].map((i) => `shop.t${i}`),
    )
  })
})

describe('the target of a BATCH text', () => {
  it('is what its statements agree on', () => {
    const of = (...tables: string[]) => {
      const parts = tables.map((name) => `DELETE FROM ${name} WHERE k = 1;`)
      return targetOf(resolveKeyspace(analyse(`BEGIN BATCH ${parts.join(' ')} APPLY BATCH`), 'shop'))
    }
    assert.deepEqual(of('orders', 'shop.orders'), { keyspace: 'shop', table: 'orders' })
    assert.deepEqual(of('orders', 'items'), { keyspace: 'shop', table: undefined })
    assert.deepEqual(of('orders', 'other.orders'), { keyspace: undefined, table: undefined })
    assert.deepEqual(of(), { keyspace: undefined, table: undefined })
  })
})
