/** At 400 lines one asks what second thing moved in (CONTRIBUTING.md). */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'

const root = join(import.meta.dirname, '..')
const linesMax = 400

describe('files of src', () => {
  it(`have at most ${linesMax} lines, tests and what only tests import apart`, () => {
    const files = globSync('src/**/*.ts', { cwd: root }).filter(
      (file) => !/\.(test|fixture|fuzz|corpus)\.ts$/.test(file),
    )
    const lines = new Map(
      files.map((file) => [file, readFileSync(join(root, file), 'utf8').trimEnd().split('\n').length]),
    )
    assert.deepEqual(
      [...lines].filter(([, count]) => count > linesMax),
      [],
    )
    const sorted = [...lines.values()].sort((a, b) => a - b)
    assert.ok(sorted[Math.floor(sorted.length / 2)]! <= 110, 'half of them have about a hundred')
  })
})
