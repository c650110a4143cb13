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
    for (let i = 0; i < 10; i++) traffic.record(traffic.row(key('t', { workload: `w${i}` })), 1, false)
    traffic.record(traffic.row(key('t', { workload: 'w10', verdict: 'deny' })), 1, true)
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

  it('holds of one workload no more rows than there is room left for others, whatever it names', () => {
    const traffic = new TrafficTable({ rowsMax: 100, idleDrainsMax: 2 })
    for (let i = 0; i < 1_000; i++)
      traffic.record(traffic.row(key(`t${i}`, { verdict: i % 2 === 0 ? 'deny' : 'allow' })), 1, false)
    assert.ok(traffic.size <= 55, `${traffic.size}`)
    const others = ['b', 'c', 'd'].map((name) => ({ workload: `spiffe://td/svc/${name}` }))
    for (const other of others) traffic.record(traffic.row(key('t', other)), 1, false)
    const rows = traffic.drain()
    for (const { workload } of others) assert.ok(rows.some((row) => row.workload === workload && row.table === 't'))
    const own = rows.filter(({ workload }) => workload === 'spiffe://td/svc/a')
    assert.equal(
      own.reduce((sum, { count }) => sum + count, 0),
      1_000,
    )
    assert.ok(own.some(({ operation, verdict }) => operation === '(any)' && verdict === 'deny'))
    assert.ok(rows.every(({ workload }) => workload !== '(others)'))
    for (let i = 0; i < 3; i++) traffic.drain()
    assert.equal(traffic.size, 0)
    for (let i = 0; i < 40; i++) assert.ok(traffic.record(traffic.row(key(`u${i}`)), 1, false))
    assert.equal(traffic.size, 40)
  })

  it('is read in a few milliseconds, however many rows there are', () => {
    const traffic = new TrafficTable()
    const costOf = (): number => {
      for (let i = 0; i < 10_000; i++)
        traffic.record(traffic.row(key(`${'k'.repeat(200)}${i}`, { verdict: 'deny' })), i, true)
      const began = performance.now()
      const rows = traffic.drain()
      assert.ok(rows.length > 1_000 && rows.length < 2_010)
      return performance.now() - began
    }
    let least = Number.POSITIVE_INFINITY
    for (let run = 0; run < 15; run++) least = Math.min(least, costOf())
    assert.ok(least < 10, `${least} ms`)
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
