/** That no failure of a soak is left uncounted, and that its text says still what it was. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FailureCounts, plain } from './failures.ts'

describe('the failures of a soak', () => {
  it('are one text without their numbers, but for those of HTTP and of CQL', () => {
    for (const [error, text] of [
      ['HTTP 401', 'HTTP 401'],
      ['connect ECONNREFUSED 127.0.0.1:9042', 'connect ECONNREFUSED #.#.#.#:#'],
      ['<Connection(140213) 127.0.0.1:9042 (closed) at 0x7f3a2b9c1d>', '<Connection(#) #.#.#.#:# (closed) at #>'],
      ['code=1100 [Coordinator node timed out] 2 of 3', 'code=1100 [Coordinator node timed out] # of #'],
      ['0x1002 nothing was done', '0x1002 nothing was done'],
    ] as const)
      assert.equal(plain(error), text)
  })

  it('are all counted, also where there are more texts than are kept', () => {
    const counts = new FailureCounts()
    for (let i = 0; i < 10_000; i++) counts.add(`no host at 127.0.0.${i}`)
    for (let i = 0; i < 100; i++) counts.add(`strange ${'x'.repeat(i)}`)
    counts.add('no host at 127.0.0.1')
    assert.equal(counts.said['no host at #.#.#.#'], 10_001)
    assert.equal(Object.keys(counts.said).length, 41)
    assert.equal(counts.said.other, 61)
  })
})
