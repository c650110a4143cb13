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

async function until(what: string, isTrue: () => boolean): Promise<void> {
  for (const end = performance.now() + 10_000; !isTrue(); await sleep(5)) assert.ok(performance.now() < end, what)
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
    await until('the turn is over', () => all.every(({ did }) => did.length > 0))
    assert.deepEqual(
      all.map(({ did }) => did),
      [['flushed'], ['dropped'], ['flushed']],
    )
    assert.equal(faultsContained(), before + 1)
    const next = new Bytes()
    turn.add(next)
    await until('the next turn is over', () => next.did.length > 0)
    assert.deepEqual(next.did, ['flushed'])
  })

  it('in the record lets nothing leave in that turn, and the next one is as ever', async () => {
    const turn = new Turn()
    let isBroken = true
    turn.before(() => !isBroken || fail())
    const [first, second] = [new Bytes(), new Bytes()]
    turn.add(first)
    await until('the turn is over', () => first.did.length > 0)
    isBroken = false
    turn.add(second)
    await until('the next turn is over', () => second.did.length > 0)
    assert.deepEqual([first.did, second.did], [['dropped'], ['flushed']])
  })

  it('in what waited for its share keeps no other from its own', async () => {
    const shares = new LoopShares()
    const served: string[] = []
    const [broken, other] = [shares.share(), shares.share()]
    broken.later(fail)
    broken.later(() => served.push('of the same client'))
    other.later(() => served.push('of another'))
    await until('both are served', () => served.length === 2)
    assert.deepEqual(served.sort(), ['of another', 'of the same client'])
  })

  it('in a read that is asked twice keeps no other from being asked', async () => {
    const clock = new HedgeClock(() => performance.now())
    const asked: number[] = []
    clock.after(1, fail)
    clock.after(1, () => asked.push(1))
    await until('the other was asked', () => asked.length > 0)
    clock.stop()
    assert.deepEqual(asked, [1])
  })

  it('in one that waited for room keeps no other from it', async () => {
    const budget = new BytesBudget()
    const told: string[] = []
    budget.open('a', '10.0.0.1').whenRoom(10, fail)
    budget.open('b', '10.0.0.2').whenRoom(10, () => told.push('b'))
    await until('the other has room', () => told.length > 0)
    assert.deepEqual(told, ['b'])
  })
})
