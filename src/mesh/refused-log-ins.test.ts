import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import { cutRefusals, type NamedRefusal, RefusedLogIns, refusedLogInRow, reportedBounds } from './refused-log-ins.ts'

const row = (change: Partial<NamedRefusal> = {}): NamedRefusal => ({
  cause: 'expired',
  words: 'the token expired 5 s ago',
  count: 1,
  firstMs: 1_000,
  lastMs: 1_000,
  address: '192.0.2.7',
  claimed: 'corp/alice',
  ...change,
})
const bytesOf = (rows: Iterable<NamedRefusal>): number =>
  [...rows].reduce((sum, each) => sum + Buffer.byteLength(JSON.stringify(each)), 0)
const countOf = (rows: Iterable<NamedRefusal>): number => [...rows].reduce((sum, { count }) => sum + count, 0)

describe('refused log-ins', () => {
  it('that are alike are one row, with the last one’s driver, token and words', () => {
    const kept = new RefusedLogIns(reportedBounds)
    kept.add(row({ tokenHash: 'aa', driver: 'old' }))
    kept.add(
      row({ firstMs: 9_000, lastMs: 9_000, tokenHash: 'bb', driver: 'new', words: 'the token expired 13 s ago' }),
    )
    kept.add(row({ firstMs: 5_000, lastMs: 5_000, tokenHash: 'cc' }))
    const [one, ...others] = kept.rows()
    assert.equal(others.length, 0)
    const { count, firstMs, lastMs, tokenHash, driver, words } = one!
    assert.deepEqual(
      [count, firstMs, lastMs, tokenHash, driver, words],
      [3, 1_000, 9_000, 'bb', 'new', 'the token expired 13 s ago'],
    )
    for (const differs of [
      { cause: 'audience' },
      { address: '192.0.2.8' },
      { claimed: 'corp/bob' },
      { claimed: undefined },
      { listener: '10.0.0.1:9042' },
      { gateway: 'spiffe://d/g' },
      { session: '00' },
      { proxy: 'sidecar-2' },
    ])
      kept.add(row(differs))
    assert.equal([...kept.rows()].length, 9)
  })

  it('of one address leave room for those of others, however many there are and whoever is claimed', () => {
    const kept = new RefusedLogIns(reportedBounds)
    kept.add(row())
    const flood = 10_000
    for (let i = 0; i < flood; i++)
      // All of one /64.
      kept.add(row({ address: `2001:db8::${(i % 65_535).toString(16)}`, claimed: `corp/${i}` }))
    const { refusals = [], refusalsMissed } = kept.drain()
    assert.equal(refusals.length, 1 + limits.refusalsReportedPerAddressMax)
    assert.ok(refusals.some(({ address, claimed }) => address === '192.0.2.7' && claimed === 'corp/alice'))
    assert.ok(
      refusals.some(({ claimed }) => claimed === `corp/${flood - 1}`),
      'the last ones stay',
    )
    assert.equal(countOf(refusals) + (refusalsMissed ?? 0), flood + 1)
    assert.deepEqual(kept.drain(), {}, 'it begins anew')
  })

  it('are bounded in rows and bytes, with whatever texts, and none is lost to the count', () => {
    const texts = ['x', '\u0001"\\', '😀', '\ud83d'].map((piece) => piece.repeat(3_000))
    for (const bounds of [reportedBounds, { rowsMax: 5, bytesMax: 40_000, rowsPerAddressMax: 3 }]) {
      for (const long of [undefined, ...texts]) {
        const kept = new RefusedLogIns(bounds)
        for (let i = 0; i < 1_000; i++) {
          const address = `10.0.${i >> 8}.${i & 255}`
          const more = { listener: long, driver: long, session: long, issuer: long, tokenId: long, tokenHash: long }
          kept.add(row(long === undefined ? { address } : { ...more, address, claimed: `${i}${long}`, words: long }))
          const rows = [...kept.rows()]
          if (i % 50 > 0) continue
          assert.ok(rows.length <= bounds.rowsMax && rows.length > 0, `${rows.length} rows`)
          assert.ok(bytesOf(rows) <= bounds.bytesMax, `${bytesOf(rows)} bytes`)
          assert.equal(countOf(rows) + kept.missed, i + 1)
          for (const each of rows) refusedLogInRow.parse(each)
        }
        const { refusals = [], refusalsMissed = 0 } = cutRefusals(kept.drain())
        assert.equal(countOf(refusals) + refusalsMissed, 1_000)
      }
    }
  })

  it('pass from worker to report to control plane as they are, and what was missed on the way stays counted', () => {
    const [worker, supervisor, control] = [0, 1, 2].map(() => new RefusedLogIns(reportedBounds))
    worker!.add(row())
    worker!.take({ refusalsMissed: 4 })
    supervisor!.take(worker!.drain())
    supervisor!.take({ refusals: [row({ address: '192.0.2.8' })], refusalsMissed: 1 })
    control!.take(cutRefusals(supervisor!.drain()), 'gateway-1')
    assert.deepEqual(
      [...control!.rows()],
      [row({ proxy: 'gateway-1' }), row({ address: '192.0.2.8', proxy: 'gateway-1' })],
    )
    assert.equal(control!.missed, 5)
  })

  it('keep nothing that a row does not have', () => {
    const parsed = refusedLogInRow.parse({ ...row(), token: 'eyJ', password: 'x', proxy: 'another' })
    assert.deepEqual(parsed, row())
  })
})
