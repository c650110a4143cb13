/** What an answer of the control plane changes of what is owed here. That all sidecars together give a limit is in `sharing.test.ts`. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { loadPolicy } from '../../policy/load.ts'
import { document, orders } from '../../policy/policy.fixture.ts'
import type { Meter } from './parts.ts'
import { RateLimits } from './rate-limits.ts'

const nowMicros = 1_000_000

function start() {
  const limits = new RateLimits(() => nowMicros)
  const documents = ['first', 'second'].map((name) => document('RateLimitPolicy', name, { perIdentity: '100/s' }))
  limits.install(loadPolicy(documents.join('\n---\n'), 'p.yaml').rateLimits)
  limits.parts.sidecars = 2
  const [first, second] = limits.of({ limits: undefined }, { limits: undefined }, orders, '10.0.0.1').meters as Meter[]
  const left = (): number[] => [first!, second!].map((meter) => Math.round(100 * (1 - limits.usedPart(meter))))
  /** Asks of both, and is given these parts. */
  const given = (spare: number, ...parts: number[]): void => {
    for (const meter of [first!, second!]) limits.want(meter, 1)
    const asked = limits.parts.toAsk(nowMicros)?.parts ?? []
    assert.equal(asked.length, 2)
    limits.parts.take(
      { term: 0, spare, parts: parts.map((part, at) => [asked[at]![0], part, false]), debts: [] },
      nowMicros,
    )
  }
  return { limits, first: first!, second: second!, left, given }
}

describe('an answer about parts', () => {
  it('moves what is owed of those whose part is another, and of no other', () => {
    const { limits, first, second, left, given } = start()
    given(0.01, 0.5, 0.5)
    for (const meter of [first, second]) limits.charge(meter, 10)
    assert.deepEqual(left(), [80, 80])
    given(0.01, 0.25, 0.5)
    // 40 units of 50 were left; as many are left of a burst of 25 as there are.
    assert.deepEqual(left(), [100, 80])
    given(0.01, 0.25, 0.5)
    assert.deepEqual(left(), [100, 80])
  })

  it('moves those of which nothing was said where the spare part is another', () => {
    const { limits, first, second, left, given } = start()
    given(0.1)
    for (const meter of [first, second]) limits.charge(meter, 5)
    assert.deepEqual(left(), [50, 50])
    given(0.2)
    // 5 units were left of 10, and 5 are left of 20.
    assert.deepEqual(left(), [25, 25])
  })
})
