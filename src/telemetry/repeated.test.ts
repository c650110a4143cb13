import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ManualClock } from '../base/clock.fixture.ts'
import { Repeated } from './repeated.ts'

describe('a line that comes again and again', () => {
  it('is said when it changes and once a minute, with how often it was left out', () => {
    const clock = new ManualClock()
    const repeated = new Repeated(clock)
    assert.equal(repeated.due('away'), 0)
    for (let i = 0; i < 40; i++) {
      clock.advance(1_000)
      assert.equal(repeated.due('away'), undefined)
    }
    assert.equal(repeated.due('refused'), 0)
    assert.equal(repeated.due('refused'), undefined)
    clock.advance(60_000)
    assert.equal(repeated.due('refused'), 1)
  })

  it('is news again when it was over', () => {
    const repeated = new Repeated(new ManualClock())
    assert.equal(repeated.due('away'), 0)
    repeated.over()
    assert.equal(repeated.due('away'), 0)
  })
})
