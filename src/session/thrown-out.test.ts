import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import type { Revocation } from '../identity/revoked/revocation.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { type Revocable, throwOut } from './thrown-out.ts'

const revoked: Revocation = { id: 1, kind: 'id', value: 'spiffe://demo.local/svc/gone' }

/** One session in two is of who is thrown out. */
function sessions(count: number, onThrowOut: (at: number) => void): { all: Revocable[]; faults: number[] } {
  const faults: number[] = []
  const all = Array.from({ length: count }, (_, at) => ({
    revocable:
      at === 1 ? undefined : { subject: parseSpiffeId(`spiffe://demo.local/svc/${at % 2 === 0 ? 'gone' : 'stays'}`) },
    throwOut: () => onThrowOut(at),
    onFault: () => void faults.push(at),
  }))
  return { all, faults }
}

describe('who is thrown out', () => {
  it('goes in shares of turns, and nobody else goes', async () => {
    const gone: number[] = []
    let inTurn = 0
    let most = 0
    const busyMs = 0.05
    const { all } = sessions(2_000, (at) => {
      if (inTurn++ === 0)
        setImmediate(() => {
          inTurn = 0
        })
      most = Math.max(most, inTurn)
      gone.push(at)
      const untilMs = performance.now() + busyMs
      while (performance.now() < untilMs);
    })
    throwOut(all, [revoked], Date.now())
    while (gone.length < 1_000) await new Promise(setImmediate)
    await new Promise(setImmediate)
    assert.deepEqual(
      gone,
      all.map((_, at) => at).filter((at) => at % 2 === 0),
    )
    assert.ok(most <= limits.loopShareMs / busyMs + 1, `${most} in one turn`)
  })

  it('goes all the same where a fault ended one of them', () => {
    const gone: number[] = []
    const { all, faults } = sessions(9, (at) => {
      if (at === 2) throw new Error('of this one')
      gone.push(at)
    })
    throwOut(all, [revoked], Date.now())
    assert.deepEqual([gone, faults], [[0, 4, 6, 8], [2]])
  })
})
