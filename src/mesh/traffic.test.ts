import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Histogram } from '../telemetry/histogram.ts'
import { mergeTraffic, type TrafficRow, trafficRowsMax } from './traffic.ts'

const row: TrafficRow = {
  workload: 'w',
  operation: 'SELECT',
  verdict: 'allow',
  rule: 'r',
  count: 1,
  errors: 0,
  p50Micros: 10,
  p99Micros: 50,
}

describe('mergeTraffic', () => {
  it('adds up equal keys and keeps the others apart', () => {
    const merged = mergeTraffic(
      [row],
      [
        { ...row, count: 3, errors: 2, p50Micros: 30, p99Micros: 40 },
        { ...row, verdict: 'deny' },
      ],
    )
    const { latency, ...sum } = merged[0] ?? assert.fail('no row')
    assert.deepEqual(sum, { ...row, count: 4, errors: 2, p50Micros: 30, p99Micros: 41 }, 'the middle of its bucket')
    assert.deepEqual(
      latency?.filter((_, i) => i % 2 === 1).reduce((total, count) => total + count, 0),
      4,
    )
    assert.equal(merged.length, 2)
  })

  it('has the percentiles of all requests together, not a mean of medians', () => {
    // Nine proxies are quick, one is slow: half of all requests took 1 ms, and one in ten 100 ms.
    const rowOf = (micros: number): TrafficRow => {
      const latency = new Histogram()
      latency.recordMany(micros, 100)
      const [p50Micros, p99Micros] = [latency.percentile(50), latency.percentile(99)]
      return { ...row, count: 100, p50Micros, p99Micros, latency: latency.buckets() }
    }
    const lists = [...Array.from({ length: 9 }, () => [rowOf(1000)]), [rowOf(100_000)]]
    for (const [merged] of [
      mergeTraffic(...lists),
      mergeTraffic(mergeTraffic(...lists.slice(0, 4)), ...lists.slice(4)),
    ]) {
      assert.equal(merged?.count, 1000)
      assert.ok(Math.abs((merged?.p50Micros ?? 0) - 1000) <= 32)
      assert.ok(Math.abs((merged?.p99Micros ?? 0) - 100_000) <= 3200)
    }
  })

  it('takes a row without buckets, and buckets that are none, for what they are', () => {
    const [old] = mergeTraffic([{ ...row, count: 200 }], [{ ...row, count: 200 }])
    assert.deepEqual([old?.count, old?.p50Micros, old?.p99Micros], [400, 10, 10])
    const [odd] = mergeTraffic([{ ...row, latency: [100_000, 5, 7] }], [{ ...row, latency: [20, 1] }])
    assert.deepEqual([odd?.count, odd?.p50Micros, odd?.latency], [2, 20, [20, 1]])
  })

  it('does not grow without bound, and loses no count', () => {
    const many = Array.from({ length: 3 * trafficRowsMax }, (_, i) => ({
      ...row,
      rule: `r${i}`,
      // All three, whose sums want a row each.
      verdict: (['allow', 'deny', 'observe'] as const)[i % 3]!,
    }))
    const merged = mergeTraffic(many)
    assert.ok(merged.length <= trafficRowsMax && merged.length > trafficRowsMax - 3)
    assert.equal(
      merged.reduce((total, { count }) => total + count, 0),
      many.length,
    )
  })
})
