import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../../base/errors.ts'
import type { StatusAnswer } from '../../control/services/proxies.ts'
import { inForceSince, reachedSoFar } from './reached.ts'

/** Answers by what is left of `answers`, and counts. */
function statusOf(...answers: (readonly (readonly [name: string, has: boolean])[] | Error)[]) {
  const client = {
    asked: 0,
    async status(): Promise<StatusAnswer> {
      const answer = answers[Math.min(client.asked++, answers.length - 1)]!
      if (answer instanceof Error) throw answer
      const proxies = answer.map(([name, revocationsInForce]) => ({ name, connected: true, revocationsInForce }))
      return { proxies } as unknown as StatusAnswer
    },
  }
  return client
}

const all = { have: 2, connected: 2, missing: [] }
const some = { have: 1, connected: 2, missing: ['n2'] }
const withoutMs = async (found: ReturnType<typeof inForceSince>) => {
  const { ms, ...reached } = await found
  assert.ok(Number.isInteger(ms))
  return reached
}

describe('at how many proxies it is in force', () => {
  it('is asked no more where the control plane said that all have it', async () => {
    const client = statusOf(new Error('not asked'))
    assert.deepEqual(await withoutMs(inForceSince(client, performance.now(), all)), all)
    assert.equal(client.asked, 0)
  })

  it('is asked a while longer where some had not, and of a control plane of before', async () => {
    for (const answered of [some, undefined]) {
      const client = statusOf(
        [
          ['n1', true],
          ['n2', false],
        ],
        [
          ['n1', true],
          ['n2', true],
        ],
      )
      assert.deepEqual(await withoutMs(inForceSince(client, performance.now(), answered)), all)
      assert.equal(client.asked, 2)
    }
  })

  it('is what the control plane answered where it has gone away since', async () => {
    const away = statusOf(new RingfenceError('UNAVAILABLE', 'no control plane answers'))
    assert.deepEqual(await withoutMs(inForceSince(away, performance.now(), some)), some)
    await assert.rejects(inForceSince(away, performance.now(), undefined), { code: 'UNAVAILABLE' })
    const other = statusOf(new RingfenceError('USAGE', 'not so'))
    await assert.rejects(inForceSince(other, performance.now(), some), { code: 'USAGE' })
  })

  it('is told with the names of those that are missing, and where to look again', () => {
    assert.deepEqual(reachedSoFar({ ...all, ms: 210 }), ['in force at 2 of 2 proxies after 0.21 s'])
    assert.deepEqual(reachedSoFar({ ...some, ms: 3_000 }), [
      'in force at 1 of 2 proxies after 3.00 s',
      'not yet: n2',
      'look again: ringfence identity revocations',
    ])
  })
})
