import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Column, Prepared } from '../cql/responses.ts'
import { analyse } from '../cql/statement/analyse.ts'
import { resolveKeyspace } from '../cql/statement/resolve.ts'
import { native } from '../cql/types.ts'
import { confirms } from './confirm.ts'

const column = (table: string): Column => {
  const [keyspace = '', name = ''] = table.split('.')
  return { keyspace, table: name, name: 'k', type: native('text') }
}

function prepared(bind: readonly string[], shown: readonly string[] = []): Prepared {
  const columns = bind.map(column)
  return {
    id: Buffer.alloc(16),
    resultMetadataId: undefined,
    bind: { keyspace: columns[0]?.keyspace ?? '', table: columns[0]?.table ?? '', columns, pkIndexes: [] },
    result: { columnCount: shown.length, columns: shown.map(column), pagingState: null, newMetadataId: undefined },
  }
}
const agree = (text: string, answer: Prepared): boolean => confirms(resolveKeyspace(analyse(text), 'shop'), answer)

describe('what the node read', () => {
  it('confirms what we read', () => {
    assert.ok(agree('SELECT k FROM orders WHERE k = ?', prepared(['shop.orders'], ['shop.orders'])))
    assert.ok(agree('SELECT k FROM orders', prepared([], ['shop.orders'])))
    assert.ok(agree('INSERT INTO a.b (k) VALUES (?)', prepared(['a.b'])))
    const batch = 'BEGIN BATCH INSERT INTO a.b (k) VALUES (?) DELETE FROM c WHERE k = ? APPLY BATCH'
    assert.ok(agree(batch, prepared(['a.b', 'shop.c'])))
    assert.ok(agree(batch.replace('BATCH', 'BATCH USING TIMESTAMP ?'), prepared(['[batch].[batch]', 'a.b', 'shop.c'])))
  })

  it('refutes it when it names another table', () => {
    assert.ok(!agree('SELECT k FROM orders WHERE k = ?', prepared(['shop.secret'], ['shop.orders'])))
    assert.ok(!agree('SELECT k FROM orders WHERE k = ?', prepared(['shop.orders'], ['shop.secret'])))
    assert.ok(!agree('SELECT k FROM orders WHERE k = ?', prepared(['other.orders'], ['other.orders'])))
    assert.ok(!agree('SELECT k FROM orders WHERE k = ?', prepared(['[batch].[batch]'], ['shop.orders'])))
    assert.ok(!agree('BEGIN BATCH INSERT INTO a.b (k) VALUES (?) APPLY BATCH', prepared(['a.c'])))
  })

  it('is asked for data only: LIST and DESCRIBE answer with rows of the node’s own', () => {
    assert.ok(agree('LIST ROLES', prepared([], ['system_auth.roles'])))
    assert.ok(agree('DESCRIBE TABLES', prepared([], ['system.describe'])))
  })
})
