import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ManualClock } from '../../base/clock.fixture.ts'
import { certificatesOf, verifyChain } from '../../identity/chain.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import { wireAuthorities } from '../../mesh/authorities.ts'
import { CertificateAuthority, type IssuedLeaf } from '../ca.ts'
import type { ShownAuthority } from './shown.ts'
import type { AuthorityKind } from './signer.ts'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const spiffeId = parseSpiffeId('spiffe://demo.local/svc/orders')

describe('authorities', () => {
  let base: string
  before(() => {
    base = mkdtempSync(join(tmpdir(), 'rf-keys-'))
  })
  after(() => rmSync(base, { recursive: true, force: true }))

  interface Made {
    readonly folder: string
    readonly clock: ManualClock
    readonly ca: CertificateAuthority
    again(): Promise<CertificateAuthority>
  }

  async function made(lives: { rootMs?: number; issuingMs?: number; leafMsMax?: number } = {}): Promise<Made> {
    const folder = mkdtempSync(join(base, 'ca-'))
    const clock = new ManualClock()
    const again = () => CertificateAuthority.open(folder, 'demo.local', clock, lives)
    return { folder, clock, ca: await again(), again }
  }

  const statesOf = (ca: CertificateAuthority, kind: AuthorityKind): string[] =>
    ca.keys
      .shown()
      .filter((one) => one.kind === kind)
      .map(({ state }) => state)
  const inState = (ca: CertificateAuthority, kind: AuthorityKind, state: string): ShownAuthority =>
    ca.keys.shown().find((one) => one.kind === kind && one.state === state) ?? assert.fail(`no ${state} ${kind}`)
  const rootsOf = (pem: string): number => certificatesOf(pem).length
  /** As a peer that has `bundlePem` does. */
  function verify({ certificatePem }: IssuedLeaf, bundlePem: string, nowMs: number): void {
    const [leaf, ...issuers] = certificatesOf(certificatePem)
    verifyChain(
      leaf!.raw,
      issuers.map(({ raw }) => raw),
      bundlePem,
      nowMs,
    )
  }
  const mint = (ca: CertificateAuthority, ttlMs = hour) => ca.mint({ spiffeId, ttlMs })

  it('of issuing: prepared at half of the life, active at 5/6, dropped when it ends, and never before', async () => {
    const { ca, clock } = await made()
    const first = inState(ca, 'issuing', 'active')
    const life = 30 * day
    const steps: readonly (readonly [share: number, states: readonly string[]])[] = [
      [0.49, ['active']],
      [0.51, ['prepared', 'active']],
      [0.83, ['prepared', 'active']],
      [0.84, ['active', 'old']],
      [0.99, ['active', 'old']],
      [1.01, ['prepared', 'active']],
    ]
    let atMs = 0
    for (const [share, states] of steps) {
      clock.advance(share * life - atMs)
      atMs = share * life
      await ca.keys.rotateIfDue()
      // What came at half lives from then on: at 1.01 it is beyond half of its own life.
      assert.deepEqual(statesOf(ca, 'issuing'), states, `${share}`)
      assert.equal(first.id === inState(ca, 'issuing', 'active').id, share < 5 / 6, `${share}`)
      verify(await mint(ca), ca.bundlePem, clock.now())
    }
    assert.deepEqual(statesOf(ca, 'root'), ['active'])
  })

  it('of a root: in the bundle from half of its life on, signs from 5/6, stays until it ends', async () => {
    const { ca, clock } = await made({ rootMs: 60 * day, issuingMs: 5 * day, leafMsMax: hour })
    const old = inState(ca, 'root', 'active')
    const bundles = new Set<string>()
    let before: IssuedLeaf | undefined
    for (let at = 0; at < 75; at++) {
      await ca.keys.rotateIfDue()
      const leaf = await mint(ca, 2 * day)
      // Old and new leaves are good by the bundle of now, and the newest leaf by the bundle of a day ago.
      verify(leaf, ca.bundlePem, clock.now())
      verify(leaf, [...bundles].at(-1) ?? ca.bundlePem, clock.now())
      bundles.add(ca.bundlePem)
      if (before !== undefined && before.notAfterMs > clock.now()) verify(before, ca.bundlePem, clock.now())
      before = leaf
      const states = statesOf(ca, 'root')
      if (at < 30) assert.deepEqual(states, ['active'], `day ${at}`)
      else if (at > 30 && at < 50) assert.deepEqual(states, ['prepared', 'active'], `day ${at}`)
      else if (at > 50 && at < 60) assert.deepEqual(states, ['active', 'old'], `day ${at}`)
      else if (at > 60) assert.ok(!ca.keys.shown().some(({ id }) => id === old.id), `day ${at}`)
      const issuing = inState(ca, 'issuing', 'active')
      assert.equal(issuing.signerId, inState(ca, 'root', 'active').id, `day ${at}`)
      assert.ok(issuing.notAfterMs <= inState(ca, 'root', 'active').notAfterMs)
      clock.advance(day)
    }
    assert.ok(bundles.size >= 3)
  })

  it('two of them overlap: what either signed is good by the bundle of the overlap, and not by that of one alone', async () => {
    const { ca, clock } = await made()
    const oldBundle = ca.bundlePem
    const oldLeaf = await mint(ca)
    await ca.keys.prepare('root')
    const overlap = ca.bundlePem
    await ca.keys.activate('root')
    const newLeaf = await mint(ca)
    assert.equal(rootsOf(overlap), 2)
    for (const leaf of [oldLeaf, newLeaf]) {
      verify(leaf, overlap, clock.now())
      verify(leaf, ca.bundlePem, clock.now())
    }
    assert.throws(() => verify(newLeaf, oldBundle, clock.now()), /trusted root/)
    assert.throws(() => verify(oldLeaf, newLeaf.rootPem, clock.now()), /trusted root/)
    // The active one first: it is the one that a reader of a single certificate takes.
    assert.equal(ca.bundlePem.indexOf(newLeaf.rootPem), 0)
    assert.deepEqual(
      ca.rootFingerprints,
      certificatesOf(ca.bundlePem).map(({ fingerprint256 }) => fingerprint256.replaceAll(':', '').toLowerCase()),
    )
    assert.equal(ca.rootFingerprints[0], ca.rootFingerprint)
  })

  it('are as they were after a restart between prepare and activate, and activate then', async () => {
    for (const kind of ['issuing', 'root'] as const) {
      const { ca, again } = await made()
      const prepared = await ca.keys.prepare(kind)
      const restarted = await again()
      assert.deepEqual(restarted.keys.shown(), ca.keys.shown())
      assert.deepEqual(restarted.keys.told, ca.keys.told)
      assert.equal((await restarted.keys.activate(kind)).id, prepared.id)
      assert.equal((await again()).keys.find(prepared.id).state, 'active')
    }
  })

  it('are whole wherever a crash comes', async () => {
    // Activated, and nothing was written of it.
    for (const kind of ['issuing', 'root'] as const) {
      const { ca, folder, clock, again } = await made()
      const prepared = await ca.keys.prepare(kind)
      renameSync(join(folder, `${kind}-next.pem`), join(folder, `${kind}.pem`))
      const after = await again()
      assert.equal(after.keys.find(prepared.id).state, 'active')
      if (kind === 'root') {
        // What signs leaves now is of the old root, and is not lost with it.
        const old = inState(await again(), 'root', 'old')
        await (await again()).keys.taint(old.id)
        assert.equal(statesOf(await again(), 'issuing')[0], 'active')
      }
      verify(await mint(after), after.bundlePem, clock.now())
      assert.equal(inState(after, 'issuing', 'active').signerId, inState(after, 'root', 'active').id, kind)
      assert.equal(rootsOf(after.bundlePem), kind === 'root' ? 2 : 1)
    }
    // A copy that was made meanwhile has the key twice.
    {
      const { ca, folder, again } = await made()
      await ca.keys.prepare('issuing')
      copyFileSync(join(folder, 'issuing-next.pem'), join(folder, 'issuing.pem'))
      const after = await again()
      assert.deepEqual(statesOf(after, 'issuing'), ['active', 'old'])
      await after.keys.prepare('issuing')
    }
    // The key is there, and nothing was written of it; or the other way round.
    {
      const { ca, folder, again } = await made()
      const ledger = readFileSync(join(folder, 'authorities.json'))
      const prepared = await ca.keys.prepare('root')
      writeFileSync(join(folder, 'authorities.json'), ledger)
      assert.equal((await again()).keys.find(prepared.id).state, 'prepared')
      rmSync(join(folder, 'root-next.pem'))
      const without = await again()
      assert.deepEqual(statesOf(without, 'root'), ['active'])
      assert.equal(rootsOf(without.bundlePem), 1, 'nobody has its key')
    }
  })

  it('of an older program are taken up as they are', async () => {
    const { ca, folder, again, clock } = await made()
    const leaf = await mint(ca)
    rmSync(join(folder, 'authorities.json'))
    const after = await again()
    assert.deepEqual(
      after.keys.shown().map(({ id, state }) => [id, state]),
      ca.keys.shown().map(({ id, state }) => [id, state]),
    )
    verify(leaf, after.bundlePem, clock.now())
    assert.deepEqual(readdirSync(folder).sort(), ['authorities.json', 'issuing.pem', 'root.pem'])
  })

  it('that are damaged or incomplete are refused, rather than made anew', async () => {
    for (const [name, text, words] of [
      ['authorities.json', '{', /authorities.json is damaged/],
      ['authorities.json', '{"sequence":1,"authorities":[{}]}', /is damaged/],
      ['issuing-next.pem', 'x', /issuing-next.pem is damaged/],
      ['root.pem', 'x', /root.pem is damaged/],
    ] as const) {
      const { folder, again } = await made()
      writeFileSync(join(folder, name), text)
      await assert.rejects(again(), { code: 'CONFIG', message: words })
    }
    for (const ledgerToo of [false, true]) {
      const { folder, again } = await made()
      rmSync(join(folder, 'root.pem'))
      if (ledgerToo) rmSync(join(folder, 'authorities.json'))
      await assert.rejects(again(), { code: 'CONFIG', message: /root.pem is missing/ })
      assert.ok(!existsSync(join(folder, 'root.pem')))
    }
    const other = await made()
    await assert.rejects(
      CertificateAuthority.open(other.folder, 'other.local', other.clock),
      /belongs to spiffe:\/\/demo.local/,
    )
  })

  it('each command is refused where it makes no sense, says what does, and changes nothing', async () => {
    const { ca } = await made()
    const { keys } = ca
    const refused = async (work: () => unknown, message: RegExp): Promise<void> => {
      const [shown, told] = [JSON.stringify(keys.shown()), JSON.stringify(keys.told)]
      await assert.rejects(
        async () => work(),
        (error: Error & { code?: string; hint?: string }) => {
          assert.match(error.message, message)
          assert.equal(error.code, 'USAGE')
          assert.match(error.hint ?? '', /ringfence ca /)
          return true
        },
      )
      assert.deepEqual([JSON.stringify(keys.shown()), JSON.stringify(keys.told)], [shown, told])
    }
    for (const kind of ['root', 'issuing'] as const) {
      const active = inState(ca, kind, 'active')
      await refused(() => keys.activate(kind), new RegExp(`no ${kind} key is prepared`))
      const next = await keys.prepare(kind)
      await refused(() => keys.prepare(kind), /is prepared already/)
      await refused(() => keys.taint(active.id), /is the active/)
      await refused(() => keys.revoke(active.id), /is the active/)
      await refused(() => keys.taint(next.id), /has signed nothing yet/)
      await keys.activate(kind)
      const old = keys.find(active.id)
      assert.equal(old.state, 'old')
      await refused(() => keys.revoke(old.id), /is not tainted/)
      // A root takes what it signed along.
      const oldIssuing = keys.shown().find(({ signerId }) => signerId === old.id)
      assert.equal((await keys.taint(old.id)).state, 'tainted')
      if (oldIssuing !== undefined) {
        assert.equal(keys.find(oldIssuing.id).state, 'tainted')
        await refused(() => keys.taint(oldIssuing.id), /is tainted already/)
      }
      await refused(() => keys.taint(old.id), /is tainted already/)
      await keys.revoke(old.id)
      await refused(() => keys.revoke(old.id), /is revoked already/)
      await refused(() => keys.taint(old.id), /is revoked already/)
    }
    await refused(() => keys.taint('ffffffff'), /there is no authority/)
    await refused(() => keys.taint(''), /is not one authority/)
    await refused(() => keys.taint('zz'), /there is no authority/)
  })

  it('tainted ones are told of by the keys that signed leaves, and revoked ones leave the bundle', async () => {
    const { ca, clock } = await made()
    const { keys } = ca
    const [root, issuing] = [inState(ca, 'root', 'active'), inState(ca, 'issuing', 'active')]
    const leaf = await mint(ca)
    await keys.prepare('root')
    await keys.activate('root')
    let { bundleSequence } = keys.told
    const next = (): void => {
      assert.ok(keys.told.bundleSequence > bundleSequence)
      bundleSequence = keys.told.bundleSequence
    }
    assert.deepEqual(keys.told.tainted, [])
    await keys.taint(root.id.slice(0, 8))
    next()
    assert.deepEqual(keys.told.tainted, [{ authority: issuing.id, sinceMs: clock.now() }])
    verify(leaf, ca.bundlePem, clock.now())
    assert.equal(ca.rootFingerprints.length, 1, 'no new join token names it')
    const refused: string[] = []
    const revoke = (id: string) => keys.revoke(id, (signed) => refused.push(...signed.map((one) => one.id)))
    await assert.rejects(
      keys.revoke(root.id, () => assert.fail('no room')),
      /no room/,
    )
    verify(leaf, ca.bundlePem, clock.now())
    await revoke(root.id)
    assert.deepEqual(refused, [issuing.id])
    next()
    assert.deepEqual(keys.told.tainted, [])
    assert.throws(() => verify(leaf, ca.bundlePem, clock.now()), /trusted root/)
    verify(await mint(ca), ca.bundlePem, clock.now())
    // An issuing key alone: its root is trusted as before.
    const second = inState(ca, 'issuing', 'active')
    await keys.prepare('issuing')
    await keys.activate('issuing')
    await keys.taint(second.id)
    assert.deepEqual(
      keys.told.tainted.map(({ authority }) => authority),
      [second.id],
    )
    await revoke(second.id)
    assert.deepEqual(refused, [issuing.id, second.id])
    assert.equal(rootsOf(ca.bundlePem), 1)
  })

  it('one that is only prepared is dropped with its key, and leaves the bundle', async () => {
    for (const kind of ['root', 'issuing'] as const) {
      const { ca, folder, again } = await made()
      const prepared = await ca.keys.prepare(kind)
      // Its key may have been read: with an issuing one whoever did so could sign what everybody takes.
      const refused: string[] = []
      await ca.keys.revoke(prepared.id, (signed) => refused.push(...signed.map(({ id }) => id)))
      assert.deepEqual(refused, kind === 'issuing' ? [prepared.id] : [])
      assert.equal(rootsOf(ca.bundlePem), 1)
      assert.ok(!existsSync(join(folder, `${kind}-next.pem`)))
      assert.ok(!(await again()).keys.shown().some(({ id }) => id === prepared.id))
      await ca.keys.prepare(kind)
    }
  })

  it('an issuing key that was prepared under the root of before signs nothing', async () => {
    const { ca } = await made()
    const late = await ca.keys.prepare('issuing')
    await ca.keys.prepare('root')
    await ca.keys.activate('root')
    assert.ok(!ca.keys.shown().some(({ id }) => id === late.id))
    assert.equal(inState(ca, 'issuing', 'active').signerId, inState(ca, 'root', 'active').id)
  })

  it('of many that ask at one moment each sees one change, and one of two is refused', async () => {
    const { ca, clock } = await made()
    const both = await Promise.allSettled([ca.keys.prepare('root'), ca.keys.prepare('root')])
    assert.deepEqual(
      both.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    )
    clock.advance(26 * day)
    const leaves = await Promise.all(Array.from({ length: 20 }, () => mint(ca)))
    assert.equal(new Set(leaves.map(({ certificatePem }) => certificatesOf(certificatePem)[1]!.serialNumber)).size, 1)
    assert.deepEqual(statesOf(ca, 'issuing'), ['active', 'old'])
  })

  it('made up for a long stop: the next root waits until everybody may know it, or the old one ends', async () => {
    const life = { rootMs: 60 * day, issuingMs: 5 * day, leafMsMax: hour }
    const { clock, again } = await made(life)
    clock.advance(55 * day)
    const ca = await again()
    await ca.keys.rotateIfDue()
    assert.deepEqual(statesOf(ca, 'root'), ['prepared', 'active'])
    clock.advance(hour - minute)
    await ca.keys.rotateIfDue()
    assert.deepEqual(statesOf(ca, 'root'), ['prepared', 'active'])
    clock.advance(2 * minute)
    await ca.keys.rotateIfDue()
    assert.deepEqual(statesOf(ca, 'root'), ['active', 'old'])
    // All of it was over: there is one that signs all the same.
    const late = await made(life)
    late.clock.advance(100 * day)
    const after = await late.again()
    await after.keys.rotateIfDue()
    verify(await mint(after), after.bundlePem, late.clock.now())
    assert.equal(rootsOf(after.bundlePem), 1)
  })

  it('where the disk takes nothing, what signs goes on, and the step is taken when it does', async () => {
    for (const [kind, stepMs] of [
      ['issuing', 1_600 * day],
      ['root', 1_900 * day],
    ] as const) {
      const { ca, clock, folder } = await made({ issuingMs: 3_000 * day, rootMs: 3_650 * day, leafMsMax: hour })
      const first = inState(ca, 'issuing', 'active')
      clock.advance(stepMs)
      // A folder in the place of the list: it can't be replaced.
      const ledger = join(folder, 'authorities.json')
      renameSync(ledger, `${ledger}.aside`)
      mkdirSync(join(ledger, 'full'), { recursive: true })
      await assert.rejects(ca.keys.rotateIfDue())
      const leaf = await mint(ca)
      verify(leaf, ca.bundlePem, clock.now())
      assert.equal(inState(ca, 'issuing', 'active').id, first.id)
      assert.equal(rootsOf(ca.bundlePem), 1)
      rmSync(ledger, { recursive: true })
      renameSync(`${ledger}.aside`, ledger)
      await ca.keys.rotateIfDue()
      const prepared = inState(ca, kind, 'prepared')
      assert.equal(prepared.preparedMs, clock.now(), 'everybody is told of it from now on')
      assert.ok(ca.keys.told.issuing?.includes(first.id))
    }
  })

  it('an activation that was not written down is as if nothing was done, and no key that signed is ever forgotten', async () => {
    const { ca, folder, again } = await made()
    const prepared = await ca.keys.prepare('issuing')
    const ledger = join(folder, 'authorities.json')
    renameSync(ledger, `${ledger}.aside`)
    mkdirSync(join(ledger, 'full'), { recursive: true })
    await assert.rejects(ca.keys.activate('issuing'))
    assert.equal(ca.keys.find(prepared.id).state, 'prepared')
    rmSync(ledger, { recursive: true })
    renameSync(`${ledger}.aside`, ledger)
    await ca.keys.activate('issuing')
    await ca.keys.prepare('issuing')
    await ca.keys.activate('issuing')
    assert.equal((await again()).keys.find(prepared.id).state, 'old')
  })

  it('a clock that is set back leaves no key that nobody takes yet', async () => {
    const { ca, clock, again } = await made()
    const [root] = ca.keys.rootPems
    clock.advance(40 * day)
    await ca.keys.rotateIfDue()
    await ca.keys.prepare('root')
    verify(await mint(ca), ca.bundlePem, clock.now())
    clock.advance(-39 * day)
    for (const one of [ca, await again()]) {
      await one.keys.rotateIfDue()
      assert.ok(inState(one, 'issuing', 'active').notBeforeMs <= clock.now())
      assert.deepEqual(statesOf(one, 'root'), ['active'])
      assert.deepEqual(one.keys.rootPems, [root])
      verify(await mint(one), one.bundlePem, clock.now())
    }
    // Somewhat back, as clocks are set every day: nothing is made anew.
    const { id } = inState(ca, 'issuing', 'active')
    clock.advance(-30_000)
    await ca.keys.rotateIfDue()
    assert.equal(inState(ca, 'issuing', 'active').id, id)
  })

  it('no more are prepared by hand than leave room for those that come by themselves', async () => {
    const { ca, clock } = await made()
    let turns = 0
    await assert.rejects(
      async () => {
        for (; turns < 64; turns++) {
          await ca.keys.prepare('root')
          await ca.keys.activate('root')
        }
      },
      { code: 'USAGE', message: /authorities that are not over yet/ },
    )
    assert.ok(turns > 15 && ca.keys.shown().length < 55)
    clock.advance(16 * day)
    await ca.keys.rotateIfDue()
    assert.deepEqual(statesOf(ca, 'issuing').slice(0, 2), ['prepared', 'active'])
    assert.ok(wireAuthorities.safeParse(ca.keys.told).success)
  })

  it('their keys are their owner’s only, and no list of them has one', async () => {
    const { ca, folder } = await made()
    await ca.keys.prepare('root')
    assert.doesNotMatch(readFileSync(join(folder, 'authorities.json'), 'utf8'), /PRIVATE KEY/)
    assert.doesNotMatch(JSON.stringify([ca.keys.shown(), ca.keys.told]), /PRIVATE KEY/)
    for (const pem of certificatesOf(ca.bundlePem)) assert.ok(new X509Certificate(pem.raw).ca)
  })
})
