import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ConcurrencyLimit } from './concurrency-limit.ts'

const anna = {}
const ben = {}
const cleo = {}

describe('a limit of what is done at one time', () => {
  it('lets through so many in all and of one identity, each in its turn', async () => {
    const limit = new ConcurrencyLimit<object>(3, 2)
    const inside: string[] = []
    const order: string[] = []
    const ends: (() => void)[] = []
    const enter = (who: object, name: string): Promise<void> =>
      limit.run(who, async () => {
        inside.push(name)
        order.push(name)
        await new Promise<void>((end) => ends.push(end))
        inside.splice(inside.indexOf(name), 1)
      })
    const all = [
      enter(anna, 'a1'),
      enter(anna, 'a2'),
      enter(anna, 'a3'),
      enter(ben, 'b1'),
      enter(ben, 'b2'),
      enter(cleo, 'c1'),
    ]
    await nextTurn()
    assert.deepEqual(inside, ['a1', 'a2', 'b1'])
    while (ends.length > 0) {
      ends.shift()!()
      await nextTurn()
      assert.ok(inside.length <= 3 && inside.filter((name) => name.startsWith('a')).length <= 2, inside.join())
    }
    await Promise.all(all)
    assert.deepEqual(order, ['a1', 'a2', 'b1', 'a3', 'b2', 'c1'])
  })

  it('lets those who wait take turns, whoever has most', async () => {
    const limit = new ConcurrencyLimit<object>(1)
    const order: string[] = []
    const run = (who: object, name: string): Promise<void> =>
      limit.run(who, async () => {
        order.push(name)
        await nextTurn()
      })
    const all = ['a1', 'a2', 'a3', 'a4'].map((name) => run(anna, name))
    assert.equal(limit.waitingOf(anna), 3)
    all.push(run(ben, 'b1'), run(cleo, 'c1'), run(ben, 'b2'))
    assert.equal(limit.waiting, 6)
    assert.equal(limit.isOpenTo(cleo), false)
    await Promise.all(all)
    assert.deepEqual(order, ['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4'])
    assert.equal(limit.waiting, 0)
    assert.equal(limit.isOpenTo(cleo), true)
  })

  it('opens again after work that failed', async () => {
    const limit = new ConcurrencyLimit<object>(1)
    await assert.rejects(
      limit.run(anna, () => Promise.reject(new Error('no'))),
      /no/,
    )
    assert.equal(await limit.run(ben, async () => 7), 7)
  })
})
