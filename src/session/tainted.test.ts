import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, describe, it, type TestContext } from 'node:test'
import { systemClock } from '../base/clock.ts'
import { limits } from '../base/limits.ts'
import { CertificateAuthority } from '../control/ca.ts'
import type { CallerFacts } from '../identity/revoked/revocations.ts'
import { type Authorities, noAuthorities, pushedAuthorities } from '../mesh/authorities.ts'
import { Observed } from '../mesh/observable.ts'
import { type Leaving, TaintedAuthorities } from './tainted.ts'

const old = 'ab'.repeat(20)
const present = 'cd'.repeat(20)
const { taintedLeafMsMax, taintedSpreadMsMax } = limits

class One implements Leaving {
  readonly revocable: CallerFacts | undefined
  leftMs: number | undefined
  isCut = false

  constructor(authority: string | undefined, isKnown = true) {
    const certificate = { serial: '4A', key: '', authority }
    this.revocable = isKnown ? { subject: 'spiffe://td/svc/a', certificate } : undefined
  }

  leave(): void {
    this.leftMs = Date.now()
  }

  destroy(): void {
    this.isCut = true
  }

  onFault(): void {
    assert.fail('a fault')
  }
}

function told(authority: string, sinceMs: number, bundleSequence = 1): Authorities {
  return { ...noAuthorities, bundleSequence, tainted: [{ authority, sinceMs }] }
}

/** In steps: a timer that is set within one step counts from its end. */
function pass(t: TestContext, ms: number): void {
  for (let left = ms; left > 0; left -= 100) t.mock.timers.tick(Math.min(left, 100))
}

function setUp(t: TestContext, first: Authorities = noAuthorities, bundlePem = '') {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 })
  const authorities = new Observed(first, (value) => pushedAuthorities.version(value))
  const open: One[] = []
  return { authorities, open, watch: () => new TaintedAuthorities(authorities, bundlePem, () => open) }
}

describe('what was built on a certificate of an authority that is tainted', () => {
  let pems: string[]
  before(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rf-roots-'))
    const { keys } = await CertificateAuthority.open(folder, 'demo.local', systemClock)
    await keys.prepare('root')
    pems = keys.rootPems
    rmSync(folder, { recursive: true })
  })

  it('leaves when agents have had their minute, spread; and nobody else does', (t) => {
    const { authorities, open, watch } = setUp(t)
    const meant = Array.from({ length: 50 }, () => new One(old))
    const others = [new One(present), new One(undefined), new One(old, false)]
    open.push(...meant, ...others)
    watch()
    authorities.set(told(old, Date.now()))
    pass(t, taintedLeafMsMax - 1)
    assert.ok(open.every(({ leftMs }) => leftMs === undefined))
    pass(t, 1 + taintedSpreadMsMax + 200)
    assert.ok(meant.every(({ leftMs }) => leftMs !== undefined))
    assert.ok(new Set(meant.map(({ leftMs }) => leftMs)).size > 10, 'not at one moment')
    assert.ok(others.every(({ leftMs }) => leftMs === undefined))
    // Who comes later is let in, and stays.
    const late = new One(old)
    open.push(late)
    authorities.set(told(old, 1_000_000, 2))
    pass(t, 10 * taintedLeafMsMax)
    assert.equal(late.leftMs, undefined)
  })

  it('leaves at two hosts in different turns', (t) => {
    const { authorities, open } = setUp(t)
    const hosts = [0, 1].map((index) => {
      const own = Array.from({ length: 50 }, () => new One(old))
      open.push(...own)
      new TaintedAuthorities(
        authorities,
        '',
        () => own,
        () => ({ index, count: 2 }),
      )
      return own
    })
    authorities.set(told(old, Date.now()))
    pass(t, taintedLeafMsMax + taintedSpreadMsMax + 200)
    for (const { leftMs: one = 0 } of hosts[0]!)
      for (const { leftMs: other = 0 } of hosts[1]!)
        assert.ok(one > 0 && other > 0 && Math.abs(one - other) > 4_000, `${one} ${other}`)
  })

  it('leaves after a restart of the proxy, too, where its minute was not over', (t) => {
    const { open, watch } = setUp(t, told(old, 1_000_000 - 20_000))
    watch()
    const one = new One(old)
    open.push(one)
    pass(t, taintedLeafMsMax - 20_000 - 1)
    assert.equal(one.leftMs, undefined)
    pass(t, 1 + taintedSpreadMsMax + 200)
    assert.notEqual(one.leftMs, undefined)
  })

  it('waits a minute at most by a clock that is ahead, and none where it was told late', (t) => {
    for (const [sinceMs, waitMs] of [
      [Number.MAX_SAFE_INTEGER, taintedLeafMsMax],
      [0, 0],
    ] as const) {
      const { authorities, open, watch } = setUp(t)
      const one = new One(old)
      open.push(one)
      watch()
      authorities.set(told(old, sinceMs))
      pass(t, waitMs + taintedSpreadMsMax + 200)
      assert.notEqual(one.leftMs, undefined)
      t.mock.timers.reset()
    }
  })

  it('stays where the authority is not told of any more, and when the proxy has stopped', (t) => {
    const { authorities, open, watch } = setUp(t)
    const one = new One(old)
    open.push(one)
    const tainted = watch()
    authorities.set(told(old, Date.now()))
    // It is revoked: that ends it in another way.
    authorities.set({ ...noAuthorities, bundleSequence: 2 })
    pass(t, 2 * taintedLeafMsMax)
    assert.equal(one.leftMs, undefined)
    tainted.stop()
    authorities.set(told(old, Date.now(), 3))
    pass(t, 2 * taintedLeafMsMax)
    assert.equal(one.leftMs, undefined)
  })

  it('is cut off where a root is gone and no known issuing key signed it, be it open or in a handshake then', (t) => {
    const roots = pems
    const now = { ...noAuthorities, bundleSequence: 2, bundlePem: roots[1]!, issuing: [present] }
    for (const first of [noAuthorities, { ...now, bundleSequence: 1, bundlePem: roots.join('') }]) {
      const { authorities, open, watch } = setUp(t, first, roots.join(''))
      const meant = [new One('ef'.repeat(20)), new One(undefined)]
      const others = [new One(present), new One(old, false)]
      open.push(...meant, ...others)
      watch()
      assert.ok(!open.some(({ isCut }) => isCut))
      authorities.set(now)
      const late = new One('ef'.repeat(20))
      open.push(late)
      assert.deepEqual(
        open.map(({ isCut }) => isCut),
        [true, true, false, false, false],
      )
      pass(t, 2 * limits.handshakeTimeoutMs)
      assert.deepEqual(
        open.map(({ isCut }) => isCut),
        [true, true, false, false, true],
      )
      t.mock.timers.reset()
    }
  })

  it('stays where the roots are those of before, more of them, or told by an older control plane', (t) => {
    const roots = pems
    const of = (bundlePem: string, issuing?: string[]) => ({ ...noAuthorities, bundleSequence: 2, bundlePem, issuing })
    for (const next of [of(roots[0]!, [present]), of(roots.join(''), [present]), of(roots[1]!)]) {
      const { authorities, open, watch } = setUp(t, noAuthorities, roots[0]!)
      open.push(new One('ef'.repeat(20)))
      watch()
      authorities.set(next)
      pass(t, 3 * limits.handshakeTimeoutMs)
      assert.ok(!open.some(({ isCut }) => isCut))
      t.mock.timers.reset()
    }
  })
})
