/** Parts of rate limits, asked by sidecars at a real control plane over mutual TLS; and that all parts together are never more than the limit. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  limitKeysAskedMax,
  limitShares,
  limitSharesAnswer,
  limitSharesPath,
  partKeptMs,
  partReservedMs,
} from '../mesh/limit-shares.ts'
import { SharedLimits } from './limit-shares.ts'
import { withMesh } from './mesh.fixture.ts'

const key = 'k'.repeat(22)
const process = '0'.repeat(16)
const idOf = (role: string, name: string): string => `spiffe://demo.local/ringfence/${role}/${name}`

describe('parts of a limit', () => {
  it('are never more than the limit together, whatever is asked, by whom, when', () => {
    const sidecars = new Set(['a', 'b', 'c', 'd'])
    const held = new Map<string, number>()
    const askedMs = new Map<string, number>()
    const limits = new SharedLimits(0)
    let state = 7
    const random = (): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff
      return state / 0x8000_0000
    }
    for (let step = 0, nowMs = 5000; step < 20_000; step++, nowMs += random() * 1000) {
      const who = [...sidecars][Math.floor(random() * sidecars.size)]!
      // Some are away for minutes, and then have an equal part at most.
      if (random() < 0.01) nowMs += 120_000
      for (const [name, part] of held)
        if (nowMs - (askedMs.get(name) ?? 0) > partKeptMs) held.set(name, Math.min(part, 1 / sidecars.size))
      askedMs.set(who, nowMs)
      const wanted = random() < 0.1 ? 0 : random() ** 3 * 4
      const asked = { process, parts: [[key, wanted, held.get(who) ?? 0]] as [string, number, number][], debts: [] }
      const { parts, spare } = limits.ask(who, asked, sidecars, nowMs)
      held.set(who, parts[0]![1])
      const all = [...sidecars].reduce((sum, name) => sum + ((held.get(name) ?? 0) || spare), 0)
      assert.ok(all <= 1.000001, `${all} at step ${step}`)
    }
  })

  it('go to who is left where a sidecar is no more, and to none that says it holds what it was not given', () => {
    const limits = new SharedLimits(0)
    const ask = (who: string, held: number, of: readonly string[], nowMs: number) =>
      limits.ask(who, { process, parts: [[key, 2, held]], debts: [] }, new Set(of), nowMs).parts[0]![1]
    assert.equal(ask('a', 0, ['a', 'b'], 10_000), 0.5)
    assert.equal(ask('b', 0, ['a', 'b'], 10_000), 0.5)
    assert.equal(ask('b', 1, ['a', 'b'], 11_000), 0.5)
    // It is off the list, and may go on with what it has.
    for (let nowMs = 12_000; nowMs <= 11_000 + partReservedMs; nowMs += 1000)
      assert.equal(ask('b', 0.5, ['b'], nowMs), 0.5, String(nowMs))
    assert.equal(ask('b', 0.5, ['b'], 11_001 + partReservedMs), 1)
  })

  it('stay those of a sidecar that is off the list for a while, and give nobody else a spare one of them', () => {
    const limits = new SharedLimits(0)
    const ask = (who: string, held: number, of: readonly string[], nowMs: number) => {
      const { parts, spare } = limits.ask(who, { process, parts: [[key, 2, held]], debts: [] }, new Set(of), nowMs)
      return [parts[0]![1], spare] as const
    }
    const [first] = ask('a', 0, ['a', 'b'], 10_000)
    const [, spare] = ask('b', 0, ['a', 'b'], 10_000)
    assert.ok(spare < 0.03, String(spare))
    assert.deepEqual(ask('b', 0.5, ['b'], 40_000), [0.5, spare])
    assert.deepEqual(ask('a', first, ['a', 'b'], 50_000), [0.5, spare])
  })

  it('are learned from who holds them, after a start', () => {
    const limits = new SharedLimits(0)
    const ask = (who: string, held: number) =>
      limits.ask(who, { process, parts: [[key, 2, held]], debts: [] }, new Set(['a', 'b', 'c']), 100).parts[0]![1]
    assert.deepEqual([ask('a', 0.7), ask('b', 0.25)], [0.7, 0.25])
  })
})

describe('a sidecar that asks for its part', () => {
  it('is answered by the control plane, and a gateway is not', () =>
    withMesh({}, async (mesh) => {
      const sidecar = await mesh.agent('n1', await mesh.token(idOf('sidecar', 'n1'), 'sidecar'))
      const asked = { process, parts: [[key, 2, 0]], debts: [[key, 1000, 1000, false]] }
      const { parts, debts, spare } = await sidecar.askControl(limitSharesPath, asked, limitSharesAnswer)
      assert.deepEqual([parts, spare], [[[key, 1, true]], 1])
      assert.ok(debts[0]![1] > 0 && debts[0]![1] <= 1000)
      const gateway = await mesh.agent('g1', await mesh.token(idOf('gateway', 'g1'), 'gateway'), { role: 'gateway' })
      await assert.rejects(gateway.askControl(limitSharesPath, asked, limitSharesAnswer), { code: 'IDENTITY' })
    }))

  it('says so in a bounded form', () => {
    const good = { process, parts: [[key, 2, 0.5]], debts: [[key, 1, 1, true]] }
    assert.equal(limitShares.safeParse(good).success, true)
    for (const wrong of [
      { process: 'x' },
      { parts: [['k', 1, 0]] },
      { parts: [[key, -1, 0]] },
      { parts: [[key, 1, 1.5]] },
      { parts: [[key, Number.POSITIVE_INFINITY, 0]] },
      { parts: Array.from({ length: limitKeysAskedMax + 1 }, () => [key, 1, 0]) },
      { debts: [[key, 1, 1]] },
      { more: 1 },
    ])
      assert.equal(limitShares.safeParse({ ...good, ...wrong }).success, false, JSON.stringify(wrong).slice(0, 80))
  })
})
