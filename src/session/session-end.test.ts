import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import { LogInRefused } from '../identity/refusal.ts'
import type { VerifiedIdentity } from '../identity/verified.ts'
import { leavesAfterMs, refuseAsGoodAsOver } from './session-end.ts'

describe('the end of a session', () => {
  it('is in the last tenth of its life, and leaves a hundredth of it to go in', () => {
    for (const lifeMs of [0, 1, 60_000, 3_600_000, 24 * 3_600_000]) {
      for (const random of [0, 0.25, 0.5, 1 - Number.EPSILON]) {
        const leavesMs = leavesAfterMs(lifeMs, random)
        assert.ok(leavesMs >= lifeMs * 0.9 - 1e-6 && leavesMs <= lifeMs * 0.99 + 1e-6, `${leavesMs} of ${lifeMs}`)
      }
    }
  })

  it('is in the last 12.5 s where hosts take turns, in the second half of a short life, and as late as ever for an hour and for a few seconds', () => {
    for (const lifeMs of [0, 1, 1_000, 2_500, 6_000, 9_000, 14_000, 24_000, 26_000, 60_000, 130_000, 3_600_000]) {
      const hasRoom = lifeMs > 6_000
      const inTurnMs = lifeMs > 12_700 ? lifeMs * 0.99 - 12_500 : lifeMs / 2
      const earliestMs = hasRoom ? Math.min(lifeMs * 0.9, inTurnMs) : lifeMs * 0.9
      for (const count of [2, 3, 7]) {
        for (let nowMs = 0; nowMs < 60_000; nowMs += 1_300) {
          for (const random of [0, 0.25, 0.5, 1 - Number.EPSILON]) {
            const leavesMs = leavesAfterMs(lifeMs, random, { index: nowMs % count, count }, nowMs)
            assert.ok(leavesMs >= earliestMs - 1e-6, `${leavesMs} of ${lifeMs}`)
            assert.ok(leavesMs <= lifeMs * 0.99 + 1e-6, `${leavesMs} of ${lifeMs}`)
          }
        }
      }
    }
  })

  it('is another one for each connection: of 50 no more than a third end within a tenth of the spread', () => {
    const lifeMs = 3_600_000
    const binMs = (lifeMs * 0.09) / 10
    for (let round = 0; round < 100; round++) {
      const bins = new Array<number>(10).fill(0)
      for (let i = 0; i < 50; i++) {
        const bin = Math.min(Math.floor((leavesAfterMs(lifeMs) - lifeMs * 0.9) / binMs), 9)
        bins[bin] = bins[bin]! + 1
      }
      assert.ok(Math.max(...bins) <= 17 && bins.filter((count) => count > 0).length >= 7, bins.join())
    }
  })
})

describe('a proof that is as good as over', () => {
  const nowMs = 1_000_000
  const token = { provider: 'corp', issuer: 'https://id.example.com', id: 'j1', hash: 'a'.repeat(64), key: undefined }

  for (const [what, shown] of Object.entries({ certificate: undefined, token })) {
    it(`is expired: a ${what}; one that lasts a second is not`, () => {
      const until = (leftMs: number) => ({ expiresAtMs: nowMs + leftMs, token: shown }) as unknown as VerifiedIdentity
      for (const leftMs of [limits.sessionMsMin, limits.sessionMsMin + 1, Number.POSITIVE_INFINITY])
        refuseAsGoodAsOver(until(leftMs), nowMs)
      for (const leftMs of [limits.sessionMsMin - 1, 0, -5]) {
        assert.throws(
          () => refuseAsGoodAsOver(until(leftMs), nowMs),
          (reason) =>
            reason instanceof LogInRefused &&
            reason.why === 'expired' &&
            reason.words === `the ${what} expires within a second; get a new one`,
        )
      }
    })
  }
})
