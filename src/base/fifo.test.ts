import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Fifo } from './fifo.ts'

describe('a queue', () => {
  it('is what an array is, whatever comes and goes', () => {
    const steps = fc.array(fc.oneof(fc.nat(3_000), fc.constantFrom('take', 'clear', 'put back')), { maxLength: 60 })
    fc.assert(
      fc.property(steps, (given) => {
        const queue = new Fifo<number>()
        const model: number[] = []
        let next = 0
        for (const step of given) {
          if (step === 'clear') {
            queue.clear()
            model.length = 0
          } else if (step === 'put back') {
            queue.unshift(next)
            model.unshift(next++)
          } else if (step === 'take') {
            for (let at = 0; at < 700; at++) assert.equal(queue.shift(), model.shift())
          } else {
            for (let at = 0; at < step; at++) {
              queue.push(next)
              model.push(next++)
            }
          }
          assert.equal(queue.length, model.length)
          assert.equal(queue.first, model[0])
          assert.deepEqual([...queue], model)
        }
      }),
      { numRuns: 50 },
    )
  })

  it('gives each in the same time, however many there are', () => {
    const costOf = (count: number): number => {
      const queue = new Fifo<object>()
      for (let at = 0; at < count; at++) queue.push({ at })
      let least = Number.POSITIVE_INFINITY
      for (let run = 0; run < 20; run++) {
        const began = performance.now()
        for (let at = 0; at < 200; at++) queue.shift()
        least = Math.min(least, performance.now() - began)
      }
      return least
    }
    costOf(200_000)
    // An array takes 2 ms and more.
    assert.ok(costOf(200_000) < 0.5)
  })
})
