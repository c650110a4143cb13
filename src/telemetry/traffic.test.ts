import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { TrafficKey } from './traffic.ts'
import { TrafficTable, trafficTextMax } from './traffic.ts'

const key = (table: string, more: Partial<TrafficKey> = {}): TrafficKey => ({
  workload: 'spiffe://td/svc/a',
  person: undefined,
  keyspace: 'k',
  table,
  operation: 'SELECT',
  verdict: 'allow',
  rule: 'r',
  ...more,
})

describe('TrafficTable', () => {
  it('cuts names of any length before it keeps them, so that they neither fill memory nor are refused', () => {
    const traffic = new TrafficTable()
    for (const field of ['workload', 'person', 'keyspace', 'table', 'operation', 'rule'] as const) {
      for (const extra of [0, 1, 2, 100_000]) {
        for (const letter of ['x', '\ud83d\ude00', '\ud83d']) {
          const given = letter.repeat(trafficTextMax[field] + extra)
          traffic.record(traffic.row(key('t', { [field]: given })), 1, false)
        }
      }
    }
    const rows = traffic.drain()
    assert.ok(rows.length > 18)
    for (const row of rows) {
      for (const [field, lengthMax] of Object.entries(trafficTextMax)) {
        const text = String(row[field as keyof typeof trafficTextMax])
        assert.ok(text.length <= lengthMax && text.isWellFormed(), `${field} of ${text.length}`)
      }
    }
  })

  it('sums equal keys, keeps others apart, and begins anew after a drain', () => {
    const traffic = new TrafficTable()
    const read = traffic.row(key('t'))
    assert.equal(traffic.row(key('t')), read)
    const denied = traffic.row(key('t', { verdict: 'deny' }))
    assert.notEqual(denied, read)
    for (let i = 1; i <= 100; i++) traffic.record(read, i < 99 ? 10 : 1000, i % 50 === 0)
    traffic.record(denied, 7, true)
    const rows = traffic.drain()
    assert.deepEqual(
      rows.map((row) => [row.verdict, row.count, row.errors, row.p50Micros]),
      [
        ['allow', 100, 2, 10],
        ['deny', 1, 1, 7],
      ],
    )
    assert.ok(Math.abs(rows[0]!.p99Micros - 1000) < 35)
    assert.deepEqual(traffic.drain(), [])
    assert.equal(traffic.record(read, 5, false), true)
    assert.deepEqual(
      traffic.drain().map((row) => [row.count, row.errors]),
      [[1, 0]],
    )
  })

  it('keeps keys apart whatever a peer puts into its names', () => {
    const traffic = new TrafficTable()
    const keys = [
      key('a","b'),
      key('a', { rule: 'b","r' }),
      key('__proto__'),
      key('constructor'),
      key('a\u0000b'),
      key('x', { person: undefined }),
      key('x', { person: 'null' }),
    ]
    assert.equal(new Set(keys.map((one) => traffic.row(one))).size, keys.length)
    for (const one of keys) traffic.record(traffic.row(one), 1, false)
    assert.deepEqual(
      traffic.drain().map((row) => row.table),
      keys.map((one) => one.table),
    )
  })

  it('holds no more rows than it may; the rest is summed as others, by verdict', () => {
    const traffic = new TrafficTable({ rowsMax: 3 })
    for (let i = 0; i < 10; i++) traffic.record(traffic.row(key(`t${i}`)), 1, false)
    traffic.record(traffic.row(key('t10', { verdict: 'deny' })), 1, true)
    assert.equal(traffic.size, 3)
    const rows = traffic.drain()
    assert.equal(rows.length, 5)
    const others = rows.filter((row) => row.workload === '(others)')
    assert.deepEqual(
      others.map((row) => [row.verdict, row.count, row.errors]),
      [
        ['allow', 7, 0],
        ['deny', 1, 1],
      ],
    )
  })

  it('gives up an idle row, and its handle never counts for the row that took its place', () => {
    const traffic = new TrafficTable({ rowsMax: 2, idleDrainsMax: 2 })
    const [a, b] = [traffic.row(key('a')), traffic.row(key('b'))]
    for (let i = 0; i < 3; i++) {
      traffic.record(b, 1, false)
      traffic.drain()
    }
    assert.equal(traffic.size, 1)
    assert.equal(traffic.record(a, 1, false), false)
    const c = traffic.row(key('c'))
    assert.equal(traffic.record(a, 1, false), false)
    assert.equal(traffic.record(c, 1, false), true)
    assert.deepEqual(
      traffic.drain().map((row) => [row.table, row.count]),
      [['c', 1]],
    )
    const again = traffic.row(key('a'))
    assert.equal(traffic.record(again, 1, false), true)
    assert.equal(traffic.record(-1, 1, false), false)
    assert.equal(traffic.record(Number.NaN, 1, false), false)
  })
})
