import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Gate } from './gate.ts'
import { Slices } from './slices.ts'

const anna = {}
const ben = {}
const cleo = {}

describe('a gate', () => {
  it('lets through so many in all and of one identity, each in its turn', async () => {
    const gate = new Gate(3, 2)
    const inside: string[] = []
    const order: string[] = []
    const ends: (() => void)[] = []
    const enter = (who: object, name: string): Promise<void> =>
      gate.through(who, async () => {
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

  it('opens again after work that failed', async () => {
    const gate = new Gate(1, 1)
    await assert.rejects(
      gate.through(anna, () => Promise.reject(new Error('no'))),
      /no/,
    )
    assert.equal(await gate.through(ben, async () => 7), 7)
  })
})

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
