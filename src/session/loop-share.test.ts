import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import { LoopShares } from './loop-share.ts'

describe('shares of the event loop', () => {
  let nowMs: number
  let next: (() => void)[]
  let shares: LoopShares
  let order: string[]

  beforeEach(() => {
    nowMs = 0
    next = []
    order = []
    shares = new LoopShares({ now: () => nowMs, nextTurn: (run) => void next.push(run) })
  })

  function turn(): void {
    const due = next
    next = []
    for (const run of due) run()
  }

  function work(share: ReturnType<LoopShares['share']>, ms: number): boolean {
    if (!share.begin()) return false
    nowMs += ms
    share.end()
    return true
  }

  it('lets nobody begin more in a turn than is his, and another all the same', () => {
    const [one, other] = [shares.share(), shares.share()]
    let pieces = 0
    while (work(one, 1)) pieces++
    assert.equal(pieces, limits.loopShareMs)
    assert.ok(work(other, 1))
    turn()
    assert.ok(work(one, 1))
  })

  it('serves what waits in the order in which it came, client by client in turn, and no longer than one share for all', () => {
    const names = ['a', 'b', 'c']
    const clients = names.map(() => shares.share())
    const again = (at: number, left: number): void => {
      clients[at]!.later(() => {
        order.push(`${names[at]}${left}`)
        work(clients[at]!, limits.loopShareMs)
        if (left > 1) again(at, left - 1)
      })
    }
    for (const at of [0, 1, 2]) again(at, 2)
    for (let turns = 1; turns <= 6; turns++) {
      const before = nowMs
      turn()
      assert.equal(order.length, turns)
      assert.equal(nowMs - before, limits.loopShareMs)
    }
    assert.deepEqual(order, ['a2', 'b2', 'c2', 'a1', 'b1', 'c1'])
    turn()
    assert.equal(next.length, 0, 'nothing is armed while nothing waits')
  })

  it('serves nobody at the end of a turn in which he has had his share, and everybody at the end of the next', () => {
    const [one, other] = [shares.share(), shares.share()]
    assert.ok(work(one, limits.loopShareMs))
    one.later(() => order.push('one'))
    other.later(() => order.push('other'))
    turn()
    assert.deepEqual(order, ['other'])
    assert.ok(work(one, limits.loopShareMs))
    turn()
    assert.deepEqual(order, ['other', 'one'], 'nobody is passed over twice')
  })

  it('serves whoever is skipped in his place, also where what comes uses up his share of each turn', () => {
    const [busy, ...others] = ['busy', 'a', 'b'].map(() => shares.share())
    const waits = (share: ReturnType<LoopShares['share']>, name: string): void =>
      share.later(() => {
        order.push(name)
        work(share, limits.loopShareMs)
        waits(share, name)
      })
    waits(busy!, 'busy')
    waits(others[0]!, 'a')
    waits(others[1]!, 'b')
    for (let turns = 0; turns < 40; turns++) {
      work(busy!, limits.loopShareMs)
      turn()
    }
    for (const name of ['busy', 'a', 'b']) {
      const count = order.filter((served) => served === name).length
      assert.ok(count >= 8, `${name} was served ${count} times in 40 turns`)
    }
  })

  it('serves whoever only waits at each end, which counts for the turn that begins there', () => {
    const one = shares.share()
    const again = (): void => {
      order.push('one')
      work(one, limits.loopShareMs)
      if (order.length < 3) one.later(again)
    }
    one.later(again)
    for (let turns = 1; turns <= 3; turns++) {
      turn()
      assert.equal(order.length, turns)
      assert.equal(work(one, 1), false)
    }
  })

  it('counts a piece inside another once, and lets the first inside begin always', () => {
    const share = shares.share()
    assert.ok(share.begin())
    nowMs += limits.loopShareMs
    assert.ok(work(share, 1), 'or a piece that is dear at its beginning would never come to its end')
    assert.equal(work(share, 1), false)
    share.end()
    assert.ok(share.exhausted)
    turn()
    assert.ok(!share.exhausted)
  })
})
