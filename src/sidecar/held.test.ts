import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import { HeldRequests } from './held.ts'

const request = (name: string): Buffer => Buffer.from(name)

describe('requests that wait', () => {
  it('are served in order, what comes meanwhile behind them, and only the first with what is known', () => {
    const served: string[] = []
    const held: HeldRequests = new HeldRequests({
      serve: (each, known) => {
        // The second begins to wait again.
        if (each.toString() === 'b' && !served.includes('b waits')) {
          served.push('b waits')
          held.begin(each)
        } else if (held.waiting) held.add(each, 0, each.length)
        else served.push(`${each.toString()}${known === undefined ? '' : '!'}`)
      },
      refuse: () => assert.fail(),
    })
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
    const held = new HeldRequests({ serve: (each) => served.push(each.toString()), refuse: () => assert.fail() })
    const borrowed = request('mine')
    held.begin()
    held.add(borrowed, 0, 4)
    borrowed.fill('x')
    held.letGo()
    assert.deepEqual(served, ['mine'])
  })

  it('are refused one or all when it went wrong, and dropped at the end', () => {
    const said: string[] = []
    const held = new HeldRequests({
      serve: (each) => said.push(`serve ${each.toString()}`),
      refuse: (each, reason) => said.push(`refuse ${each.toString()}: ${String(reason)}`),
    })
    for (const end of [() => held.failFirst('no'), () => held.failAll('gone'), () => held.drop()]) {
      held.begin(request('a'))
      held.add(request('b'), 0, 1)
      end()
      assert.equal(held.waiting, false)
    }
    assert.deepEqual(said, ['refuse a: no', 'serve b', 'refuse a: gone', 'refuse b: gone'])
  })

  it('are no more than heldRequestsMax', () => {
    const held = new HeldRequests({ serve() {}, refuse() {} })
    held.begin()
    for (let i = 0; i < limits.heldRequestsMax; i++) held.add(request('x'), 0, 1)
    assert.throws(() => held.add(request('x'), 0, 1), /heldRequestsMax/)
  })
})
