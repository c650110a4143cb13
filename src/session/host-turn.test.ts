import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import { type HostTurn, hostTurnOf, inTurnMs } from './host-turn.ts'
import { leavesAfterMs } from './session-end.ts'

const randoms = [0, 0.2, 0.5, 0.8, 1 - Number.EPSILON]
/** A session is served for so long after it was to go. Then its driver comes back: the first attempt is a second later by default, and takes its time. */
const backMs = limits.leaveMsMax + 1_550

/** When sessions of these lives end at each host, made at some moments of a minute. */
function endsOf(count: number, livesMs: readonly number[]): number[][] {
  return Array.from({ length: count }, (_, index) => {
    const turn: HostTurn = { index, count }
    const ends: number[] = []
    for (const lifeMs of livesMs)
      for (let madeMs = 0; madeMs < 60_000; madeMs += 1_700)
        for (const random of randoms) ends.push(madeMs + leavesAfterMs(lifeMs, random, turn, madeMs))
    return ends
  })
}

describe('the turns of hosts', () => {
  it('are in the order of their names, whoever counts, and there is none for who is alone or not known', () => {
    for (const all of [
      ['a', 'b', 'c'],
      ['c', 'a', 'b'],
    ]) {
      assert.deepEqual(
        ['a', 'b', 'c'].map((name) => hostTurnOf(name, all)),
        [0, 1, 2].map((index) => ({ index, count: 3 })),
      )
    }
    for (const all of [[], ['a'], ['b', 'c']]) assert.equal(hostTurnOf('a', all), undefined)
  })

  for (const [count, name, livesMs] of [
    [2, 'an hour', [30 * 60_000, 47 * 60_000, 60 * 60_000]],
    [3, 'an hour', [30 * 60_000, 47 * 60_000, 60 * 60_000]],
    // A client's connections were made with much of a certificate left, and with little.
    [2, 'half a minute to ten minutes', [13_500, 16_000, 24_000, 26_000, 48_000, 100_000, 320_000, 600_000]],
    [3, 'half a minute to ten minutes', [13_500, 16_000, 24_000, 26_000, 48_000, 100_000, 320_000, 600_000]],
  ] as const) {
    it(`keep ${count} hosts apart, of certificates of ${name}: where one ends a session the others' drivers are back`, () => {
      const [first = [], ...others] = endsOf(count, livesMs)
      for (const other of others)
        for (const one of first)
          for (const another of other) assert.ok(Math.abs(one - another) >= backMs, `${one} ${another}`)
    })
  }

  it('keep 2 hosts apart, of shorter lives, by as much as there is room for', () => {
    const [first = [], second = []] = endsOf(2, [6_500, 9_000, 12_000])
    for (const one of first)
      for (const another of second) assert.ok(Math.abs(one - another) >= 1_100, `${one} ${another}`)
  })

  it('leave two hosts of three at every moment, of certificates of a minute', () => {
    const away = endsOf(3, [35_000, 48_000, 60_000])
    for (let atMs = 20_000; atMs < 120_000; atMs += 50) {
      const isAway = away.map((ends) => ends.some((endMs) => endMs <= atMs && atMs < endMs + backMs))
      assert.ok(isAway.filter((is) => !is).length >= 2, `${atMs}`)
    }
  })

  it('lie within what is asked for, also where many hosts have one together, and where there is no time for any', () => {
    for (const count of [1, 2, 3, 4, 50])
      for (let index = 0; index < count; index++)
        for (const lengthMs of [0, 10, 2_999, 3_000, 6_000, 12_000, 12_500, 30_000, 324_000])
          for (const nowMs of [0, 1, 1_234_567, 1_796_000_000_123])
            for (const random of randoms) {
              const atMs = inTurnMs(nowMs, 0, lengthMs, { index, count }, random)
              assert.ok(atMs >= 0 && atMs <= lengthMs, `${index} of ${count}: ${atMs} of ${lengthMs}`)
            }
  })

  it('are used in all of their length: sessions of one host do not end together', () => {
    const ends = Array.from({ length: 100 }, (_, i) => inTurnMs(0, 0, 324_000, { index: 1, count: 3 }, i / 100))
    assert.equal(new Set(ends).size, 100)
    const rounds = new Set(ends.map((endMs) => Math.floor(endMs / 30_000)))
    assert.ok(rounds.size >= 10, `${rounds.size}`)
  })
})
