/** docs/life-of-a-request.md says where requests wait. This finds the places in the code, and looks for each of them there. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, it } from 'node:test'

const root = join(import.meta.dirname, '..')
const read = (file: string): string => readFileSync(join(root, file), 'utf8')

/** A request makes its bytes its own, is kept for later, or makes others wait behind it. */
const waits = /\bwaiting\.begin(?:Halted)?\(|\brequest\.hold\(\)|new HeldRequests\b|\bkeep\(request\)/

/** By what the places wait: no places themselves. */
const means = new Set(['src/session/held.ts', 'src/sidecar/waiting.ts'])

describe('the places where a request waits', () => {
  const files = globSync('src/**/*.ts', { cwd: root }).filter((file) => !/\.(test|fixture|fuzz)\.ts$/.test(file))
  const [, fromTable = ''] = read('docs/life-of-a-request.md').split('## Where a request waits')
  const [table = ''] = fromTable.split('\n## ')

  it('stand in docs/life-of-a-request.md', () => {
    const places = files.filter((file) => waits.test(read(file)) && !means.has(file))
    assert.ok(places.length >= 8)
    assert.deepEqual(
      places.filter((file) => !table.includes(basename(file))),
      [],
    )
  })

  it('are files that there are', () => {
    const rows = [...table.matchAll(/^\|.*\| .*?`([\w/-]+\.ts)`.*?\|/gm)].map(([, file = '']) => file)
    assert.ok(rows.length >= 15)
    for (const row of rows)
      assert.ok(
        files.some((file) => file === row || file.endsWith(`/${row}`)),
        row,
      )
  })
})
