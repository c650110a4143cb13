import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { test } from 'node:test'
import { coresOfEnds, divide, halves, rejoin } from './cores.ts'

test('the ends have the first half of the cores and the hops the rest', () => {
  assert.deepEqual(halves(2), { ends: '0', hops: '1' })
  assert.deepEqual(halves(5), { ends: '0-1', hops: '2-4' })
  assert.deepEqual([coresOfEnds(false, 5), coresOfEnds(true, 5)], [2, 5])
})

test('one core is not divided', () => {
  assert.throws(() => halves(1), { code: 'USAGE' })
})

const listOf = (pid: number): string =>
  spawnSync('taskset', ['-c', '-p', String(pid)], { encoding: 'utf8' })
    .stdout.trim()
    .split(': ')[1]!

test('hops have their cores, and this process and its other children those of the ends', {
  skip: availableParallelism() < 2,
}, () => {
  const before = listOf(process.pid)
  const [hop, end] = [1, 2].map(() => spawn('sleep', ['60']))
  try {
    divide([hop!.pid!], halves(2))
    assert.deepEqual([hop!.pid!, end!.pid!, process.pid].map(listOf), ['1', '0', '0'])
    rejoin(halves(2))
    assert.deepEqual([hop!.pid!, end!.pid!, process.pid].map(listOf), ['1', '0', '0,1'])
    assert.throws(() => divide([hop!.pid!], { ends: '0', hops: '9999' }), { code: 'UNAVAILABLE' })
  } finally {
    spawnSync('taskset', ['-a', '-c', '-p', before, String(process.pid)])
    hop!.kill()
    end!.kill()
  }
})
