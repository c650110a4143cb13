import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import { ReaderPace } from './reader-pace.ts'

const { readerBytesPerSecondMin, stalledReaderMs } = limits
const kb = 1024

/** When a reader is closed that takes `bytesPerSecond`, in seconds; it has caught up every `catchesUpEveryMs`, for `gapMs`. */
function closedAfter(
  bytesPerSecond: number,
  catchesUpEveryMs = Number.POSITIVE_INFINITY,
  gapMs = 0,
): number | undefined {
  let nowMs = 1_700_000_000_000
  const pace = new ReaderPace(() => nowMs)
  let taken = 0
  let behindMs = 0
  pace.paused(taken)
  for (let ms = 100; ms <= 10 * stalledReaderMs; ms += 100) {
    nowMs += 100
    behindMs += 100
    taken += bytesPerSecond / 10
    if (ms % 1000 === 0 && pace.tooSlow(taken)) return ms / 1000
    if (behindMs < catchesUpEveryMs) continue
    behindMs = 0
    pace.resumed()
    for (let gap = 0; gap < gapMs; gap += 100) {
      nowMs += 100
      if (pace.tooSlow(taken)) return ms / 1000
    }
    pace.paused(taken)
  }
  return undefined
}

describe('the pace of a reader', () => {
  for (const rate of [0, 1, 64 * kb, 200 * kb, readerBytesPerSecondMin - kb]) {
    it(`of ${rate} bytes a second is too slow after stalledReaderMs`, () => {
      assert.equal(closedAfter(rate), stalledReaderMs / 1000)
    })

    it(`of ${rate} bytes a second is, however often it catches up for a moment`, () => {
      for (const [every, gap] of [
        [100, 0],
        [5000, 100],
        [25_000, 1000],
      ] as const) {
        assert.ok(closedAfter(rate, every, gap)! <= (2 * stalledReaderMs) / 1000, `${every} ${gap}`)
      }
    })

    it(`of ${rate} bytes a second is its own affair where little waits`, () => {
      assert.equal(closedAfter(rate, 10_000, 3000), undefined)
    })
  }

  for (const rate of [readerBytesPerSecondMin + kb, 10 * 1024 * kb]) {
    it(`of ${rate} bytes a second is good enough for ever`, () => assert.equal(closedAfter(rate), undefined))
  }
})
