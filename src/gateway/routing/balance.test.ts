import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Load } from './balance.ts'

const second = 1_000_000

/** `count` requests that take `micros` each, one after the other from `at`; gives when the last was answered. */
function serve(load: Load, count: number, micros: number, at: number): number {
  let now = at
  for (let i = 0; i < count; i++) {
    load.sent(now)
    now += micros
    load.heard(now)
    load.sample(micros, now)
    load.succeeded()
  }
  return now
}

describe('the load of a sidecar', () => {
  it('costs more with every request in flight, and less when it is answered', () => {
    const load = new Load()
    const idle = load.cost(0)
    load.sent(0)
    load.sent(0)
    assert.equal(load.cost(0), 3 * idle)
    load.heard(10)
    assert.equal(load.cost(10), 2 * idle)
    load.forgotten(1)
    assert.equal(load.cost(10), idle)
  })

  it('feels one slow answer at once, and forgets it slowly', () => {
    const load = new Load()
    const now = serve(load, 100, 500, 0)
    const before = load.cost(now)
    load.sample(50_000, now)
    const peak = load.cost(now)
    assert.ok(peak > 40 * before, `${peak} after ${before}`)
    const soon = serve(load, 10, 500, now)
    assert.ok(load.cost(soon) > peak / 2)
    // A minute, six times the decay.
    const later = serve(load, 120_000, 500, soon)
    assert.ok(load.cost(later) < 3 * before, `${load.cost(later)} after ${before}`)
  })
})

describe('a sidecar that fails', () => {
  it('is left out after five failures in a row, and not after four with a success between', () => {
    const load = new Load()
    for (let i = 0; i < 4; i++) load.failed(0)
    load.succeeded()
    for (let i = 0; i < 4; i++) load.failed(0)
    assert.equal(load.ejected(1), false)
    load.failed(0)
    assert.equal(load.ejected(1), true)
    assert.equal(load.ejected(4.9 * second), true)
    assert.equal(load.ejected(5.1 * second), false)
  })

  it('returns bit by bit', () => {
    const load = new Load()
    const healthy = load.cost(0)
    for (let i = 0; i < 5; i++) load.failed(0)
    const costs = [5.1, 7.5, 10, 12.5, 15.1].map((seconds) => load.cost(seconds * second) / healthy)
    assert.ok(costs[0]! > 9 && costs[4]! === 1, String(costs))
    assert.deepEqual(
      costs,
      costs.toSorted((a, b) => b - a),
    )
  })

  it('stays away for longer each time, up to a minute, and is forgiven after a good one', () => {
    const load = new Load()
    let now = 0
    const away: number[] = []
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 5; i++) load.failed(now)
      const from = now
      while (load.ejected(now)) now += second / 10
      away.push(Math.round((now - from) / second))
    }
    assert.deepEqual(away, [5, 10, 20, 40, 60, 60])
    now += 61 * second
    for (let i = 0; i < 5; i++) load.failed(now)
    assert.equal(load.ejected(now + 4 * second), true)
    assert.equal(load.ejected(now + 6 * second), false)
  })

  it('is left out when it has requests and says nothing for two seconds, and not while it answers others', () => {
    const load = new Load()
    load.sent(0)
    load.sent(0)
    assert.equal(load.ejected(1.9 * second), false)
    load.heard(1.9 * second)
    assert.equal(load.ejected(3.8 * second), false)
    assert.equal(load.ejected(4 * second), true)
  })

  it('is not left out for silence when nothing was asked', () => {
    const load = new Load()
    serve(load, 3, 500, 0)
    assert.equal(load.ejected(3600 * second), false)
    load.sent(3600 * second)
    assert.equal(load.ejected(3601 * second), false)
  })
})
