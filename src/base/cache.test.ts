import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { createCache, createWeighedCache } from './cache.ts'

describe('a cache', () => {
  it('forgets the least recently used, not the oldest, and not all', () => {
    const cache = createCache<number>(3)
    for (const key of ['a', 'b', 'c']) cache.set(key, 1)
    assert.equal(cache.get('a'), 1)
    cache.set('d', 1)
    assert.deepEqual([...cache.keys()].sort(), ['a', 'c', 'd'])
  })

  it('is what a list that moves what is used to its end would be', () => {
    const step = fc.tuple(fc.constantFrom('get', 'set', 'delete'), fc.constantFrom(...'abcdefgh'))
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 60 }), (max, steps) => {
        const cache = createCache<number>(max)
        let model: string[] = []
        for (const [what, key] of steps) {
          const isHeld = model.includes(key)
          if (what === 'get') assert.equal(cache.get(key) !== undefined, isHeld)
          else if (what === 'set') cache.set(key, 1)
          else cache.delete(key)
          if (what === 'delete' || what === 'set' || isHeld) model = model.filter((each) => each !== key)
          if (what === 'set' || (what === 'get' && isHeld)) model.push(key)
          if (model.length > max) model.shift()
          assert.deepEqual([...cache.keys()].reverse(), model)
        }
      }),
    )
  })

  it('holds no more than its weight, and nothing that is heavier alone', () => {
    const cache = createWeighedCache<string>(10, (value) => value.length)
    cache.set('a', '12345')
    cache.set('b', '12345')
    cache.set('c', '1')
    assert.deepEqual([...cache.keys()].sort(), ['b', 'c'])
    cache.set('d', '12345678901')
    assert.equal(cache.has('d'), false)
    assert.ok(cache.has('c'))
  })
})
