import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Histogram, histogramMicrosMax } from './histogram.ts'

describe('Histogram', () => {
  it('answers within its error what sorting answers exactly', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: histogramMicrosMax })), {
          minLength: 1,
          maxLength: 300,
        }),
        fc.integer({ min: 1, max: 100 }),
        fc.integer({ min: 1, max: 7 }),
        (values, percent, bits) => {
          const histogram = new Histogram(bits)
          for (const value of values) histogram.record(value)
          const sorted = [...values].sort((a, b) => a - b)
          const exact = sorted[Math.ceil((percent / 100) * values.length) - 1]!
          const answer = histogram.percentile(percent)
          assert.ok(Math.abs(answer - exact) <= exact / 2 ** (bits + 1), `${answer} for ${exact}`)
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('is exact for small values, and 0 when empty', () => {
    const histogram = new Histogram(4)
    assert.equal(histogram.percentile(99), 0)
    for (let value = 0; value < 32; value++) {
      histogram.record(value)
      assert.equal(histogram.percentile(100), value)
      histogram.reset()
    }
    assert.equal(histogram.count, 0)
    assert.equal(histogram.percentile(50), 0)
  })

  it('takes what no clock should give without harm', () => {
    const histogram = new Histogram()
    for (const value of [-5, Number.NaN, Number.NEGATIVE_INFINITY]) histogram.record(value)
    assert.equal(histogram.percentile(100), 0)
    for (const value of [2 ** 31, 2 ** 40, Number.POSITIVE_INFINITY]) histogram.record(value)
    assert.equal(histogram.count, 6)
    assert.ok(histogram.percentile(100) > histogramMicrosMax * 0.96)
    histogram.record(12.9)
    assert.equal(histogram.percentile((4 / 7) * 100), 12)
  })
})
