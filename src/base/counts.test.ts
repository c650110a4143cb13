import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Counts } from './counts.ts'

it('counts by key, and keeps nothing of what has none', () => {
  const counts = new Counts<string>()
  for (const key of ['a', 'b', 'a']) counts.more(key)
  assert.deepEqual(
    [...counts],
    [
      ['a', 2],
      ['b', 1],
    ],
  )
  for (const key of ['a', 'b', 'b', 'c']) counts.less(key)
  assert.deepEqual([...counts], [['a', 1]])
  assert.deepEqual(
    ['a', 'b', 'c'].map((key) => counts.of(key)),
    [1, 0, 0],
  )
})
