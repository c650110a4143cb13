import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { looksAtClock, pathFiles, splitByClock, waiters } from './alone.ts'
import { root } from './runs.ts'

describe('test files of the path', () => {
  const { beside, alone } = splitByClock(pathFiles())

  it('run alone where they look at a clock, at CPU or at memory, also by what they import', () => {
    for (const name of ['slow-reader', 'turns', 'bursts', 'prepares', 'hedging'])
      assert.ok(alone.includes(`test/path/${name}.test.ts`), name)
    assert.ok(alone.includes('bench/ends.test.ts'))
    assert.ok(alone.includes('test/outage/outage.test.ts'))
  })

  it('run two at a time where they only wait', () => {
    for (const name of ['path/streams', 'path/web-applications', 'production/one-node', 'e2e/clouds/sts'])
      assert.ok(beside.includes(`test/${name}.test.ts`), name)
  })

  it('are all run', () => assert.deepEqual([...beside, ...alone].sort(), [...pathFiles()].sort()))

  it('begin with what takes longest', () => assert.equal(beside[0], 'test/production/one-node.test.ts'))
})

it('each file that only waits is there, and would count as one that measures', () => {
  for (const file of waiters) {
    assert.ok(existsSync(join(root, file)), file)
    assert.ok(looksAtClock(file, new Set(), new Set()), file)
  }
})
