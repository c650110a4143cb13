import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'

const bench = join(import.meta.dirname, '..', 'bench')

describe('the page on what a request costs', () => {
  const page = readFileSync(join(bench, 'README.md'), 'utf8')

  it('is read in one go: a hundred lines at most, one table of what must hold', () => {
    assert.ok(page.trimEnd().split('\n').length <= 100)
    assert.equal(page.match(/^\| figure /gm)?.length, 1)
  })

  it('says of each figure whether it holds', () => {
    const [, table = ''] = page.split('## What must hold')
    const rows = [...table.matchAll(/^\| (?!figure|---).*\|$/gm)].map(([row]) => row.split('|'))
    const figures = rows.slice(0, 10)
    for (const [, figure = '', , , holds = ''] of figures) assert.match(holds.trim(), /^(yes|no)\b/, figure)
  })

  it('stands on runs that are files named by their commit', () => {
    const runs = readdirSync(join(bench, 'results'))
    assert.ok(runs.length > 0)
    for (const run of runs) assert.match(run, /^[0-9a-f]{7,40}\.md$/)
    assert.ok(runs.some((run) => page.includes(`results/${run}`)))
  })
})
