import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
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
    assert.deepEqual(merged[0], { ...row, count: 4, errors: 2, p50Micros: 25, p99Micros: 50 })
    assert.equal(merged.length, 2)
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
