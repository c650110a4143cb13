import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { TokenBucket } from './bucket.ts'

const second = 1_000_000

const takeAll = (bucket: TokenBucket, nowMicros: number): number => {
  let taken = 0
  while (bucket.take(nowMicros)) taken++
  return taken
}

describe('a token bucket', () => {
  it('gives its burst at once and then nothing, whatever the clock says first', () => {
    for (const start of [0, 1, 1e15]) assert.equal(takeAll(new TokenBucket(5, 10), start), 5)
  })

  it('fills at its rate, in parts of a token too, and never above its burst', () => {
    const bucket = new TokenBucket(5, 10)
    takeAll(bucket, second)
    assert.equal(bucket.take(second + 99_999), false)
    assert.equal(bucket.take(second + 100_000), true)
    assert.equal(bucket.take(second + 100_000), false)
    assert.equal(takeAll(bucket, second + 350_000), 2)
    assert.equal(takeAll(bucket, second + 400_000), 1, 'the half that was left counts')
    assert.equal(takeAll(bucket, 1000 * second), 5)
  })

  it('gives nothing for a clock that goes back, or for asking in vain', () => {
    const bucket = new TokenBucket(2, 1)
    takeAll(bucket, 10 * second)
    for (let i = 0; i < 1000; i++) assert.equal(bucket.take(10 * second), false)
    assert.equal(bucket.take(9 * second), false)
    assert.equal(bucket.take(11 * second), true)
  })
})
