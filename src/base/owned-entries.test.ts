import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { OwnedEntries } from './owned-entries.ts'

/** Small, so that what a seed made can be told. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return state / 0x80000000
  }
}

describe('what is remembered of owners', () => {
  it('is what was set and is not over, in whatever order, while there is room', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const entries = new OwnedEntries<{ readonly endMs: number; readonly n: number }>(10_000)
      const model = new Map<string, { readonly endMs: number; readonly n: number }>()
      const next = random(seed)
      let nowMs = 0
      for (let n = 0; n < 400; n++) {
        const [owner, key] = [`o${Math.floor(next() * 4)}`, `k${Math.floor(next() * 8)}`]
        nowMs += Math.floor(next() * 3)
        if (next() < 0.5) {
          const value = { endMs: nowMs + Math.floor(next() * 40), n }
          entries.set(owner, key, value, nowMs)
          model.set(`${owner} ${key}`, value)
        } else if (next() < 0.2) {
          entries.delete(owner, key)
          model.delete(`${owner} ${key}`)
        }
        const expected = model.get(`${owner} ${key}`)
        const found = entries.get(owner, key, nowMs)
        assert.equal(found, expected !== undefined && expected.endMs > nowMs ? expected : undefined, `seed ${seed}`)
        assert.ok(entries.size <= model.size, `seed ${seed}`)
      }
    }
  })

  it('is bounded, and an owner that fills it forgets its own oldest, whatever others have', () => {
    const entries = new OwnedEntries<{ readonly endMs: number }>(100)
    const quiet = Array.from({ length: 20 }, (_, i) => `quiet-${i}`)
    for (const owner of quiet) for (const key of ['a', 'b']) entries.set(owner, key, { endMs: 100 }, 0)
    for (let i = 0; i < 1000; i++) entries.set('loud', `k${i}`, { endMs: 100 }, 0)
    assert.equal(entries.size, 100)
    for (const owner of quiet) for (const key of ['a', 'b']) assert.ok(entries.get(owner, key, 1), owner)
    assert.ok(entries.get('loud', 'k999', 1) && entries.get('loud', 'k940', 1))
    assert.equal(entries.get('loud', 'k939', 1), undefined)
    // What is over makes room first.
    entries.set('new', 'a', { endMs: 300 }, 200)
    assert.equal(entries.size, 1)
  })
})
