import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import { Spread } from './spread.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
/** A clock that a busy machine does not move. */
const stands = (): number => 0
const many = Array.from({ length: 1_000 }, (_, at) => at)

describe('what is told to many', () => {
  it('is told to the first at once, and to 64 in a turn', async () => {
    const spread = new Spread<number>(stands)
    const heard: number[] = []
    spread.tell(many, (to) => void heard.push(to))
    assert.equal(heard.length, 64)
    for (let turns = 1; spread.waits; turns++) {
      await turn()
      assert.ok(heard.length <= 64 * (turns + 1))
    }
    assert.deepEqual(heard, many)
  })

  it('is told to few within the call, each time', () => {
    const spread = new Spread<number>(stands)
    const heard: string[] = []
    for (const what of ['a', 'b']) spread.tell([1, 2], (to) => void heard.push(`${what}${to}`))
    assert.deepEqual(heard, ['a1', 'a2', 'b1', 'b2'])
  })

  it('is heard by each in the order in which it was told', async () => {
    const spread = new Spread<number>(stands)
    const heard = new Map<number, number[]>(many.map((to) => [to, []]))
    for (let what = 0; what < 20; what++) {
      spread.tell(what % 3 === 0 ? [7] : many, (to) => void heard.get(to)!.push(what))
      if (what % 5 === 0) await turn()
    }
    while (spread.waits) await turn()
    for (const [to, what] of heard) {
      assert.deepEqual(
        what,
        Array.from({ length: 20 }, (_, at) => at).filter((one) => one % 3 !== 0 || to === 7),
      )
    }
  })

  it('takes no more of a turn than a share, where each takes long', async () => {
    let nowMs = 0
    const spread = new Spread<number>(() => nowMs)
    let heard = 0
    spread.tell(many, () => {
      heard++
      nowMs += 1
    })
    assert.ok(heard <= limits.loopShareMs + 8)
    const before = heard
    await turn()
    assert.ok(heard > before && heard - before <= limits.loopShareMs + 8)
  })

  it('waits within a bound; then the oldest is told to the end', async () => {
    const spread = new Spread<number>(stands)
    const heard: number[] = []
    for (let what = 0; what <= limits.tellingsWaitingMax; what++) spread.tell(many, () => void heard.push(what))
    assert.equal(heard.filter((what) => what === 0).length, many.length)
    assert.equal(heard.includes(1), false)
  })
})
