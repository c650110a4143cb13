import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { StreamSet } from './streams.ts'

describe('streams that wait for their answer', () => {
  it('takes an id once, and again after its answer', () => {
    const streams = new StreamSet()
    for (const stream of [0, 31, 32, 127, 128, 32_767]) {
      assert.equal(streams.has(stream), false)
      assert.equal(streams.add(stream), true)
      assert.equal(streams.add(stream), false, `${stream} is in flight`)
      assert.equal(streams.has(stream), true)
    }
    assert.equal(streams.count, 6)
    assert.equal(streams.delete(31), true)
    assert.equal(streams.delete(31), false)
    assert.equal(streams.add(31), true)
    assert.equal(streams.count, 6)
  })

  it('knows nothing of an id far above those it has seen', () => {
    const streams = new StreamSet()
    assert.equal(streams.has(20_000), false)
    assert.equal(streams.delete(20_000), false)
    assert.equal(streams.count, 0)
  })

  it('behaves like a Set, whatever comes', () => {
    const step = fc.tuple(
      fc.boolean(),
      fc.integer({ min: 0, max: 32_767 }).map((n) => (n % 3 === 0 ? n : n % 70)),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const streams = new StreamSet()
        const model = new Set<number>()
        for (const [add, stream] of steps) {
          if (add) assert.equal(streams.add(stream), !model.has(stream))
          else assert.equal(streams.delete(stream), model.has(stream))
          if (add) model.add(stream)
          else model.delete(stream)
          assert.equal(streams.count, model.size)
          assert.equal(streams.has(stream), model.has(stream))
        }
      }),
      { numRuns: 300 },
    )
  })
})
