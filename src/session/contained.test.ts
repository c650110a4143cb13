/** A fault in what a turn, a share of it or the budget calls ends the one that it was for; the others are served in the same turn. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BytesBudget } from '../base/bytes-budget.ts'
import { faultsContained } from '../base/contained.ts'
import { HedgeClock } from '../gateway/hedge-clock.ts'
import { LoopShares } from './loop-share.ts'
import { type Flushable, Turn } from './turn.ts'

const fail = (): never => {
  throw new Error('a fault of our own')
}

class Bytes implements Flushable {
  readonly did: string[] = []
  readonly #isBroken: boolean

  constructor(isBroken = false) {
    this.#isBroken = isBroken
  }

  flushTurn(): void {
    if (this.#isBroken) fail()
    this.did.push('flushed')
  }

  dropTurn(): void {
    this.did.push('dropped')
  }
}

describe('a fault at the end of a turn', () => {
  it('drops the bytes of one connection, and the others leave', async () => {
    const turn = new Turn()
    const all = [new Bytes(), new Bytes(true), new Bytes()]
    for (const each of all) turn.add(each)
    const before = faultsContained()
    await sleep(50)
    assert.deepEqual(
      all.map(({ did }) => did),
      [['flushed'], ['dropped'], ['flushed']],
    )
    assert.equal(faultsContained(), before + 1)
    const next = new Bytes()
    turn.add(next)
    await sleep(50)
    assert.deepEqual(next.did, ['flushed'])
  })

  it('in the record lets nothing leave in that turn, and the next one is as ever', async () => {
    const turn = new Turn()
    let isBroken = true
    turn.before(() => !isBroken || fail())
    const [first, second] = [new Bytes(), new Bytes()]
    turn.add(first)
    await sleep(50)
    isBroken = false
    turn.add(second)
    await sleep(50)
    assert.deepEqual([first.did, second.did], [['dropped'], ['flushed']])
  })

  it('in what waited for its share keeps no other from its own', async () => {
    const shares = new LoopShares()
    const served: string[] = []
    const [broken, other] = [shares.share(), shares.share()]
    broken.later(fail)
    broken.later(() => served.push('of the same client'))
    other.later(() => served.push('of another'))
    await sleep(50)
    assert.deepEqual(served.sort(), ['of another', 'of the same client'])
  })

  it('in a read that is asked twice keeps no other from being asked', async () => {
    const clock = new HedgeClock(() => performance.now())
    const asked: number[] = []
    clock.after(1, fail)
    clock.after(1, () => asked.push(1))
    await sleep(200)
    clock.stop()
    assert.deepEqual(asked, [1])
  })

  it('in one that waited for room keeps no other from it', async () => {
    const budget = new BytesBudget()
    const told: string[] = []
    budget.open('a', '10.0.0.1').whenRoom(10, fail)
    budget.open('b', '10.0.0.2').whenRoom(10, () => told.push('b'))
    await sleep(200)
    assert.deepEqual(told, ['b'])
  })
})
