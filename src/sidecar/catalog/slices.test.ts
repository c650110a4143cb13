import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Slices } from './slices.ts'

const anna = {}
const ben = {}

describe('slices', () => {
  it('of one identity’s long work leave the others theirs', async () => {
    const slices = new Slices()
    const busy = function* (steps: number): Generator<void, number> {
      for (let i = 0; i < steps; i++) {
        const until = performance.now() + 1
        while (performance.now() < until);
        yield
      }
      return steps
    }
    const done: string[] = []
    const long = Array.from({ length: 20 }, (_, i) => slices.run(anna, () => busy(20)).then(() => done.push(`a${i}`)))
    const short = slices.run(ben, () => busy(1)).then(() => done.push('b'))
    await short
    assert.ok(done.length <= 2, 'one or two of the others’ at most')
    await Promise.all(long)
    assert.deepEqual(
      done.filter((name) => name !== 'b'),
      Array.from({ length: 20 }, (_, i) => `a${i}`),
    )
    await assert.rejects(
      slices.run(ben, function* () {
        yield
        throw new Error('in the middle')
      }),
      /in the middle/,
    )
  })
})
