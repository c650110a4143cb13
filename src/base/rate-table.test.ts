import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RateTable } from './rate-table.ts'

const interval = 10_000
/** 100 a second, ten of them at once. */
const tolerance = 9 * interval

/** How many units of one go at this time. */
function goesAt(table: RateTable, slot: number, now: number, most = 1000): number {
  let gone = 0
  while (gone < most && table.owedMicros(slot, now) <= tolerance) {
    table.charge(slot, interval, now)
    gone++
  }
  return gone
}

describe('a table of rates', () => {
  it('gives the burst at once, then the rate, and the burst again after a rest', () => {
    const table = new RateTable(8)
    const slot = table.slot('a', 0)
    assert.equal(goesAt(table, slot, 1_000_000), 10)
    assert.equal(goesAt(table, slot, 1_000_000), 0)
    let gone = 0
    for (let now = 1_000_000; now < 2_000_000; now += 1000) gone += goesAt(table, slot, now)
    assert.ok(gone === 99 || gone === 100, String(gone))
    assert.equal(goesAt(table, slot, 60_000_000), 10)
  })

  it('lets a take be larger than what is left, and gives nothing until it is paid', () => {
    const table = new RateTable(8)
    const slot = table.slot('a', 0)
    table.charge(slot, 500 * interval, 1_000_000)
    assert.equal(goesAt(table, slot, 1_000_000 + 490 * interval), 0)
    assert.equal(goesAt(table, slot, 1_000_000 + 491 * interval, 1), 1)
    table.charge(slot, -500 * interval, 1_000_000)
    assert.equal(goesAt(table, slot, 7_000_000), 10)
  })

  it('keeps keys apart, a thousand of them', () => {
    const table = new RateTable(1000)
    for (let i = 0; i < 1000; i++) table.charge(table.slot(`key ${i}`, 0), interval * (i + 1), 0)
    for (let i = 0; i < 1000; i++) assert.equal(table.owedMicros(table.slot(`key ${i}`, 0), 0), interval * (i + 1))
    assert.equal(table.size, 1000)
  })

  it('forgets what owes nothing where there is no room, and says so by its generation', () => {
    const table = new RateTable(4)
    const debtors = ['a', 'b', 'c'].map((key) => table.slot(key, 0))
    for (const slot of debtors) table.charge(slot, 1_000_000, 0)
    const idle = table.slot('idle', 0)
    const generation = table.generation(idle)
    assert.equal(table.slot('new', 10), idle)
    assert.notEqual(table.generation(idle), generation)
    assert.equal(table.owedMicros(idle, 10), -10)
    for (const slot of debtors) assert.equal(table.owedMicros(slot, 0), 1_000_000)
    assert.equal(table.size, 4)
  })

  it('forgets the one that owes least where all owe', () => {
    const table = new RateTable(3)
    for (const [key, owed] of [
      ['a', 300],
      ['b', 100],
      ['c', 200],
    ] as const)
      table.charge(table.slot(key, 0), owed, 0)
    table.slot('d', 0)
    assert.equal(table.owedMicros(table.slot('a', 0), 0), 300)
    assert.equal(table.owedMicros(table.slot('c', 0), 0), 200)
  })
})
