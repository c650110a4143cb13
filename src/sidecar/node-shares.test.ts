import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { limits } from '../base/limits.ts'
import { NodeShares } from './node-shares.ts'

const anna = {}
const ben = {}
const high = limits.upstreamHighWaterBytes

describe('shares of a connection to the node that takes its bytes slowly', () => {
  it('bound each identity, and nobody where little waits', () => {
    const shares = new NodeShares()
    assert.ok(shares.mayWrite(anna, high, 0))
    assert.ok(shares.mayWrite(anna, limits.upstreamShareBytes * 3, high), 'one request, whatever its length')
    assert.ok(!shares.mayWrite(anna, 1, high))
    assert.ok(shares.mayWrite(ben, limits.upstreamShareBytes, high))
    assert.ok(!shares.mayWrite(ben, 1, high))
    assert.ok(shares.mayWrite(ben, high, 0))
  })

  it('let all who wait go on when the node has taken all, and refuse in order those who waited too long', async () => {
    const shares = new NodeShares()
    shares.mayWrite(anna, limits.upstreamShareBytes, high)
    const said: string[] = []
    const wait = (name: string): void => {
      shares.room(anna).then(
        () => said.push(name),
        (reason: { code: string }) => said.push(`${name} ${reason.code}`),
      )
    }
    wait('first')
    wait('second')
    await sleep(2)
    const between = performance.now() * 1000
    await sleep(2)
    wait('third')
    shares.expire(between)
    await sleep(0)
    assert.deepEqual(said, ['first OVERLOADED', 'second OVERLOADED'])
    shares.expire(between)
    shares.drained()
    await sleep(0)
    assert.deepEqual(said.slice(2), ['third'])
    await shares.room(anna)
    shares.expire(Number.POSITIVE_INFINITY)
  })
})
