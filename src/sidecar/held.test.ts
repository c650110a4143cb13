import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BytesBudget } from '../base/bytes-budget.ts'
import { limits } from '../base/limits.ts'
import { type HeldHost, HeldRequests } from './held.ts'

const account = new BytesBudget().open('a', '1')
const never = (): never => assert.fail()
const request = (name: string): Buffer => Buffer.from(name)

describe('requests that wait', () => {
  it('are served in order, what comes meanwhile behind them, and only the first with what is known', () => {
    const served: string[] = []
    const host: HeldHost = {
      serve: (each, known) => {
        // The second begins to wait again.
        if (each.toString() === 'b' && !served.includes('b waits')) {
          served.push('b waits')
          held.begin(each)
        } else if (held.waiting) held.add(each, 0, each.length)
        else served.push(`${each.toString()}${known === undefined ? '' : '!'}`)
      },
      refuse: never,
      onCrowded: never,
    }
    const held = new HeldRequests(host, account)
    held.begin(request('a'))
    for (const name of ['b', 'c']) held.add(request(name), 0, 1)
    held.letGo(new Map())
    assert.deepEqual(served, ['a!', 'b waits'])
    assert.equal(held.waiting, true)
    held.letGo()
    assert.deepEqual(served, ['a!', 'b waits', 'b', 'c'])
    assert.equal(held.waiting, false)
  })

  it('are copies', () => {
    const served: string[] = []
    const held = new HeldRequests(
      { serve: (each) => served.push(each.toString()), refuse: never, onCrowded: never },
      account,
    )
    const borrowed = request('mine')
    held.begin()
    held.add(borrowed, 0, 4)
    borrowed.fill('x')
    held.letGo()
    assert.deepEqual(served, ['mine'])
  })

  it('are refused one or all when it went wrong, and dropped at the end', () => {
    const said: string[] = []
    const host: HeldHost = {
      serve: (each) => said.push(`serve ${each.toString()}`),
      refuse: (each, reason) => said.push(`refuse ${each.toString()}: ${String(reason)}`),
      onCrowded: never,
    }
    const held = new HeldRequests(host, account)
    for (const end of [() => held.failFirst('no'), () => held.failAll('gone'), () => held.drop()]) {
      held.begin(request('a'))
      held.add(request('b'), 0, 1)
      end()
      assert.equal(held.waiting, false)
    }
    assert.deepEqual(said, ['refuse a: no', 'serve b', 'refuse a: gone', 'refuse b: gone'])
  })

  it('are no more than heldRequestsMax', () => {
    const held = new HeldRequests({ serve() {}, refuse() {}, onCrowded: never }, account)
    held.begin()
    for (let i = 0; i < limits.heldRequestsMax; i++) held.add(request('x'), 0, 1)
    assert.throws(() => held.add(request('x'), 0, 1), /heldRequestsMax/)
  })

  it("count in their client's account: it is paused, then what comes is refused, and all is given back at the end", () => {
    const bounds = {
      processBytesMax: 1000,
      addressBytesMax: 500,
      identityBytesMax: 250,
      connectionBytesMax: 200,
      shareBytes: 10,
      roomTimeoutMs: 10,
    }
    for (const end of ['letGo', 'failFirst', 'failAll', 'drop'] as const) {
      const budget = new BytesBudget(bounds)
      let crowded = 0
      const host: HeldHost = { serve() {}, refuse() {}, onCrowded: () => crowded++ }
      const held = new HeldRequests(host, budget.open('a', '1'))
      held.begin(Buffer.alloc(40))
      assert.equal(crowded, 0)
      held.add(Buffer.alloc(40), 0, 40)
      assert.equal(crowded, 1)
      for (let i = 0; i < 3; i++) held.add(Buffer.alloc(40), 0, 40)
      assert.throws(() => held.add(Buffer.alloc(40), 0, 40), { code: 'OVERLOADED' })
      assert.equal(budget.heldBytes, 200)
      if (end === 'failFirst' || end === 'failAll') held[end]('over')
      else held[end]()
      assert.equal(budget.heldBytes, 0)
    }
  })
})
