import assert from 'node:assert/strict'
import { test } from 'node:test'
import { halves } from './cores.ts'

test('the ends have the first half of the cores and the hops the rest', () => {
  assert.deepEqual(halves(2), { ends: '0', hops: '1' })
  assert.deepEqual(halves(5), { ends: '0-1', hops: '2-4' })
})

test('one core is not divided', () => {
  assert.throws(() => halves(1), { code: 'USAGE' })
})
