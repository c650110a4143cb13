import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { limits } from './limits.ts'

describe('limits', () => {
  it('are those that docs/limits.md lists, each with its default', () => {
    const page = readFileSync(new URL('../../docs/limits.md', import.meta.url), 'utf8')
    const listed = [...page.matchAll(/^\| `(\w+)` \| ([\d,]+) \| \S/gm)].map(([, name, value = '']) => [
      name,
      Number(value.replaceAll(',', '')),
    ])
    assert.deepEqual(listed, Object.entries(limits))
  })
})
