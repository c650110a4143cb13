import assert from 'node:assert/strict'
import { it } from 'node:test'
import { contain, nothingEnds } from '../base/contained.ts'
import { logFaults } from './faults.ts'
import { createLogger } from './log.ts'

it('a fault is a line with its place, its stack and its number, and one place has a line a second', () => {
  const lines: Record<string, unknown>[] = []
  let nowMs = 0
  logFaults(
    createLogger('test', { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) }),
    () => nowMs,
  )
  const fail = (place: string) =>
    contain(nothingEnds, place, () => {
      throw new TypeError('a secret in its words')
    })
  fail('a timer')
  fail('a timer')
  fail('an event')
  nowMs += 1001
  fail('a timer')
  assert.deepEqual(
    lines.map(({ place }) => place),
    ['a timer', 'an event', 'a timer'],
  )
  const [first, , last] = lines
  assert.match(JSON.stringify(first), /faults\.test\.ts/)
  assert.doesNotMatch(JSON.stringify(lines), /secret/)
  assert.equal(Number(last?.faults) - Number(first?.faults), 3)
})
