import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BytesBudget } from '../base/bytes-budget.ts'
import { limits } from '../base/limits.ts'
import { type HeldHost, HeldRequests, type Holdable, heldObjectBytes } from './held.ts'
import { LoopShares } from './loop-share.ts'

const account = new BytesBudget().open('a', '1')
const never = (): never => assert.fail()
const share = new LoopShares().share()

/** A request whose bytes are borrowed until it is held. */
class Held implements Holdable {
  bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  get byteCount(): number {
    return this.bytes.length
  }

  hold(): void {
    this.bytes = Buffer.from(this.bytes)
  }

  toString(): string {
    return this.bytes.toString()
  }
}

const request = (name: string): Held => new Held(Buffer.from(name))
const ofBytes = (count: number): Held => new Held(Buffer.alloc(count))

describe('requests that wait', () => {
  it('are served in order, and what comes meanwhile behind them', () => {
    const served: string[] = []
    const host: HeldHost<Held> = {
      serve: (each) => {
        // The second begins to wait again.
        if (each.toString() === 'b' && !served.includes('b waits')) {
          served.push('b waits')
          held.begin(each)
        } else if (held.waiting) held.add(each)
        else served.push(each.toString())
      },
      refuse: never,
      onCrowded: never,
    }
    const held = new HeldRequests(host, account, share)
    held.begin(request('a'))
    for (const name of ['b', 'c']) held.add(request(name))
    held.letGo()
    assert.deepEqual(served, ['a', 'b waits'])
    assert.equal(held.waiting, true)
    held.letGo()
    assert.deepEqual(served, ['a', 'b waits', 'b', 'c'])
    assert.equal(held.waiting, false)
  })

  it('are copies', () => {
    const served: string[] = []
    const held = new HeldRequests<Held>(
      { serve: (each) => served.push(each.toString()), refuse: never, onCrowded: never },
      account,
      share,
    )
    const borrowed = Buffer.from('mine')
    held.begin()
    held.add(new Held(borrowed))
    borrowed.fill('x')
    held.letGo()
    assert.deepEqual(served, ['mine'])
  })

  it('are refused one or all when it went wrong, and dropped at the end', () => {
    const said: string[] = []
    const host: HeldHost<Held> = {
      serve: (each) => said.push(`serve ${each.toString()}`),
      refuse: (each, reason) => said.push(`refuse ${each.toString()}: ${String(reason)}`),
      onCrowded: never,
    }
    const held = new HeldRequests(host, account, share)
    for (const end of [() => held.failFirst('no'), () => held.failAll('gone'), () => held.drop()]) {
      held.begin(request('a'))
      held.add(request('b'))
      end()
      assert.equal(held.waiting, false)
    }
    assert.deepEqual(said, ['refuse a: no', 'serve b', 'refuse a: gone', 'refuse b: gone'])
  })

  it('are served in order, each once, where each waits again, in a time that grows with their number', () => {
    const served: string[] = []
    const budget = new BytesBudget()
    const again = new Set<Held>()
    const host: HeldHost<Held> = {
      serve: (each) => {
        if (again.delete(each)) held.begin(each)
        else served.push(each.toString())
      },
      refuse: never,
      onCrowded() {},
    }
    const held = new HeldRequests(host, budget.open('a', '1'), share)
    const all = Array.from({ length: limits.heldRequestsMax }, (_, at) => request(String(at)))
    for (const each of all) again.add(each)
    held.begin()
    const late: string[] = []
    for (const each of all) held.add(each)
    const begun = performance.now()
    for (let turn = 0; held.waiting; turn++) {
      held.letGo()
      // What comes meanwhile waits behind all of them.
      if (turn % 1000 === 1 && held.waiting) {
        held.add(request(`late ${turn}`))
        late.push(`late ${turn}`)
      }
    }
    // Moving all that wait each time took half a minute.
    assert.ok(performance.now() - begun < 5000)
    assert.deepEqual(served, [...all.map(String), ...late])
    assert.equal(budget.heldBytes, 0)
  })

  it('are refused within a share of each turn, each once; what comes meanwhile waits, and is served', () => {
    for (const end of ['after', 'drop'] as const) {
      let nowMs = 0
      let next: (() => void)[] = []
      const shares = new LoopShares({ now: () => nowMs, nextTurn: (run) => void next.push(run) })
      const said: string[] = []
      const host: HeldHost<Held> = {
        serve: (each) => void said.push(`serve ${each}`),
        refuse: (each) => {
          nowMs += 0.01
          said.push(`refuse ${each}`)
        },
        onCrowded() {},
      }
      const budget = new BytesBudget()
      const held = new HeldRequests(host, budget.open('a', '1'), shares.share())
      const all = Array.from({ length: limits.heldRequestsMax }, (_, at) => request(String(at)))
      held.begin()
      for (const each of all) held.add(each)
      held.failAll('gone')
      for (let before = 0, turn = 0; held.waiting; before = said.length, turn++) {
        assert.ok(said.length - before <= limits.loopShareMs / 0.01 + 1, `${said.length - before} in one turn`)
        if (turn === 2) held.add(request('late'))
        // Who waited for something else is told that it is there.
        if (turn === 3) held.letGo()
        if (turn === 4 && end === 'drop') held.drop()
        const due = next
        next = []
        for (const run of due) run()
      }
      for (const run of next) run()
      const wanted = [...all.map((each) => `refuse ${each}`), 'serve late']
      assert.deepEqual(said, end === 'drop' ? wanted.slice(0, said.length) : wanted)
      assert.equal(end === 'drop', said.length < wanted.length)
      assert.equal(budget.heldBytes, 0)
    }
  })

  it('are dropped at the end, also while one of them is served', () => {
    const served: string[] = []
    const budget = new BytesBudget()
    const host: HeldHost<Held> = {
      serve: (each) => {
        served.push(each.toString())
        held.drop()
      },
      refuse: never,
      onCrowded: never,
    }
    const held = new HeldRequests(host, budget.open('a', '1'), share)
    held.begin(request('a'))
    held.add(request('b'))
    held.letGo()
    assert.deepEqual([served, held.waiting, budget.heldBytes], [['a'], false, 0])
  })

  it('are no more than heldRequestsMax, which is no fewer than a client may have in flight', () => {
    assert.ok(limits.heldRequestsMax >= limits.streamsInFlightMax)
    const held = new HeldRequests<Held>({ serve() {}, refuse() {}, onCrowded: never }, account, share)
    held.begin()
    for (let i = 0; i < limits.heldRequestsMax; i++) held.add(request('x'))
    assert.throws(() => held.add(request('x')), /heldRequestsMax/)
  })

  it("count in their client's account: it is paused, then what comes is refused, and all is given back at the end", () => {
    const each = 40 + heldObjectBytes
    const bounds = {
      processBytesMax: 25 * each,
      addressBytesMax: 12 * each,
      identityBytesMax: 6 * each,
      connectionBytesMax: 5 * each,
      shareBytes: 10,
      roomTimeoutMs: 10,
    }
    for (const end of ['letGo', 'failFirst', 'failAll', 'drop'] as const) {
      const budget = new BytesBudget(bounds)
      let crowded = 0
      const host: HeldHost<Held> = { serve() {}, refuse() {}, onCrowded: () => crowded++ }
      const held = new HeldRequests(host, budget.open('a', '1'), share)
      held.begin(ofBytes(40))
      assert.equal(crowded, 0)
      held.add(ofBytes(40))
      assert.equal(crowded, 1)
      for (let i = 0; i < 3; i++) held.add(ofBytes(40))
      assert.throws(() => held.add(ofBytes(40)), { code: 'OVERLOADED' })
      assert.equal(budget.heldBytes, 5 * each)
      if (end === 'failFirst' || end === 'failAll') held[end]('over')
      else held[end]()
      assert.equal(budget.heldBytes, 0)
    }
  })
})
