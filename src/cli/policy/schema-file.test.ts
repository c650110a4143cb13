import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readSchema } from './schema-file.ts'

// As cqlsh 6.2 prints `DESCRIBE KEYSPACE shop` against Cassandra 5.0.
const described = `
CREATE KEYSPACE shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': '1'}  AND durable_writes = true;

CREATE TYPE shop.address (
    street text,
    town text
);

CREATE TABLE shop.orders (
    customer text,
    id timeuuid,
    "lineNo" int,
    sizes frozen<map<text, list<int>>>,
    near vector<float, 3>,
    note text static,
    PRIMARY KEY ((customer, id), "lineNo")
) WITH CLUSTERING ORDER BY ("lineNo" DESC)
    AND additional_write_policy = '99p'
    AND caching = {'keys': 'ALL', 'rows_per_partition': 'NONE'}
    AND comment = 'it''s; here'
    AND speculative_retry = '99p';

CREATE INDEX orders_note_idx ON shop.orders (note);

CREATE TABLE shop.stock (sku text PRIMARY KEY, available int);

CREATE MATERIALIZED VIEW shop.by_available AS
    SELECT *
    FROM shop.stock
    WHERE available IS NOT NULL AND sku IS NOT NULL
    PRIMARY KEY (available, sku)
 WITH CLUSTERING ORDER BY (sku ASC);

CREATE FUNCTION shop.twice(i int) RETURNS NULL ON NULL INPUT RETURNS int LANGUAGE java AS $$ return i * 2; $$;
`

describe('a schema out of CQL', () => {
  it('has the keys, columns and bases that DESCRIBE prints', () => {
    const schema = readSchema(described, 'shop.cql')
    assert.deepEqual(schema.table('shop', 'orders'), {
      partitionKey: ['customer', 'id'],
      clusteringKey: ['lineNo'],
      columns: ['customer', 'id', 'lineNo', 'sizes', 'near', 'note'],
      base: undefined,
      defaultTtlSeconds: 0,
    })
    assert.deepEqual(schema.table('shop', 'stock')?.partitionKey, ['sku'])
    const view = schema.table('shop', 'by_available')
    assert.deepEqual([view?.base, view?.partitionKey, view?.columns], ['stock', ['available'], ['sku', 'available']])
    assert.equal(schema.indexedTable('shop', 'orders_note_idx'), 'orders')
    assert.equal(schema.table('shop', 'Orders'), undefined)
    assert.equal(schema.table('__proto__', 'constructor'), undefined)
  })

  it('knows the default TTL, the keyspace of USE, and how Cassandra names an index without a name', () => {
    const text =
      'USE a; CREATE TABLE t (k int, v text, PRIMARY KEY (k)) WITH default_time_to_live = 60; CREATE INDEX ON t (v);'
    const schema = readSchema(text, 'a.cql')
    assert.equal(schema.table('a', 't')?.defaultTtlSeconds, 60)
    assert.equal(schema.indexedTable('a', 't_v_idx'), 't')
  })

  it('names the line of what it cannot take, and every such line', () => {
    const text =
      'CREATE TABLE a.t (k int PRIMARY KEY);\n\nSELECT * FROM a.t;\nCREATE TABLE a.u (k int);\nCREATE TABLE v (k int PRIMARY KEY);\nCREATE\n  TABL a.w;'
    assert.throws(() => readSchema(text, 'a.cql', 11), {
      code: 'CONFIG',
      message:
        /^a\.cql:13:1: SELECT in a schema.*\na\.cql:14:1: .*PRIMARY KEY\na\.cql:15:1: the keyspace is not named.*\na\.cql:17:\d+: /,
    })
    assert.throws(
      () => readSchema("CREATE TABLE a.t (k int PRIMARY KEY) WITH comment = 'open", 'a.cql'),
      /^RingfenceError: a\.cql:1:\d+: /,
    )
    const view = 'CREATE MATERIALIZED VIEW a.v AS SELECT k FROM a.t WHERE k IS NOT NULL PRIMARY KEY (k);'
    assert.throws(() => readSchema(view, 'a.cql'), /a\.t, which is not defined before it/)
  })
})
