import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Visibility } from '../policy/engine.ts'
import { isVisible } from './visible.ts'

/** Sees shop.orders, the function shop.sum and the keyspaces shop and system. */
const some: Visibility = {
  all: false,
  keyspace: (name) => name === 'shop' || name === 'system',
  table: (keyspace, name) => keyspace === 'shop' && name === 'orders',
  function: (keyspace, name) => keyspace === 'shop' && name === 'sum',
}

describe('rows', () => {
  it('of DESCRIBE go by the kind of their object', () => {
    const row = (type: string, name: string, keyspace = 'shop'): boolean => {
      const cells: Readonly<Record<string, string>> = { keyspace_name: keyspace, type, name }
      return isVisible(some, (column) => cells[column] ?? null)
    }
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
