import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ManualClock } from '../../base/clock.fixture.ts'
import { certificatesOf } from '../../identity/chain.ts'
import { CertificateAuthority } from '../ca.ts'
import { KnownSigners } from './known-signers.ts'
import { OutsideAuthority } from './outside.fixture.ts'
import { OutsideRoots, outsideRootsOf } from './outside.ts'

describe('roots beside the mesh’s own', () => {
  let base: string
  let one: OutsideAuthority
  let two: OutsideAuthority
  const clock = new ManualClock(Date.now())

  before(async () => {
    base = mkdtempSync(join(tmpdir(), 'rf-outside-'))
    one = await OutsideAuthority.make(base, 'demo.local', clock.now())
    two = await OutsideAuthority.make(base, 'demo.local', clock.now())
  })
  after(() => rmSync(base, { recursive: true, force: true }))

  it('are in the bundle and told by another number, once each, also after a restart, until they are taken away', async () => {
    const folder = mkdtempSync(join(base, 'ca-'))
    const { keys } = await CertificateAuthority.open(folder, 'demo.local', clock)
    let changes = 0
    keys.onChange(() => changes++)
    const before = keys.told
    await keys.trustOutside(outsideRootsOf(one.bundlePem))
    await keys.trustOutside(outsideRootsOf(one.bundlePem))
    assert.equal(changes, 1)
    assert.ok(keys.told.bundleSequence > before.bundleSequence)
    assert.equal(keys.told.bundlePem, before.bundlePem + one.bundlePem)
    assert.deepEqual(keys.told.issuing, [...(before.issuing ?? []), one.id])
    // What a join token names are the mesh's own.
    assert.equal(keys.rootPems.length, 1)

    const again = (await CertificateAuthority.open(folder, 'demo.local', clock)).keys
    assert.deepEqual(again.told, keys.told)
    await again.trustOutside([])
    assert.ok(again.told.bundleSequence > keys.told.bundleSequence)
    assert.equal(again.told.bundlePem, before.bundlePem)
    assert.ok(!existsSync(join(folder, 'outside-roots.pem')))
  })

  it('that are gone have what they signed count no more, and what the others signed counts', async () => {
    const { keys } = await CertificateAuthority.open(mkdtempSync(join(base, 'ca-')), 'demo.local', clock)
    await keys.trustOutside(outsideRootsOf(one.bundlePem + two.bundlePem))
    const signers = new KnownSigners(keys, clock)
    const own = keys.told.issuing?.[0]
    assert.deepEqual(
      [own, one.id, two.id].map((id) => signers.has(id)),
      [true, true, true],
    )
    await keys.trustOutside(outsideRootsOf(two.bundlePem))
    assert.deepEqual(
      [own, one.id, two.id].map((id) => signers.has(id)),
      [true, false, true],
    )
  })

  it('that have ended are in no bundle', () => {
    const roots = new OutsideRoots(mkdtempSync(join(base, 'f-')))
    roots.set(outsideRootsOf(one.bundlePem))
    assert.deepEqual(roots.idsAt(clock.now()), [one.id])
    const later = clock.now() + 2 * 3_600_000
    assert.deepEqual([roots.pemAt(later), roots.idsAt(later)], ['', []])
  })

  it('are refused where one is no authority, where there are too many, and where their file is damaged', async () => {
    const leaf = await one.svid('spiffe://demo.local/svc/a', clock.now())
    assert.throws(() => outsideRootsOf(leaf.certificatePem), { code: 'IDENTITY', message: /is no authority/ })
    assert.equal(outsideRootsOf(one.bundlePem.repeat(16)).length, 16)
    assert.throws(() => outsideRootsOf(one.bundlePem.repeat(17)), { code: 'IDENTITY', message: /17 roots, and 16/ })
    const folder = mkdtempSync(join(base, 'f-'))
    const [certificate] = certificatesOf(one.bundlePem)
    const damaged = certificate!.toString().replace(/\n.{8}/, '\nAAAAAAAA')
    writeFileSync(join(folder, 'outside-roots.pem'), damaged)
    assert.throws(() => new OutsideRoots(folder), { code: 'IDENTITY' })
  })
})
