/** Without a mesh: every row of the catalogue is tested somewhere, and where it is said to be. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { endToEndPlan } from '../order.ts'
import { attacks, rowIds } from './catalogue.ts'
import { coverage } from './coverage.ts'

const repository = join(import.meta.dirname, '..', '..', '..')

describe('the catalogue of attacks', () => {
  it('is covered row by row: A1 to A14, B1 to B20, C1 to C20, D1 to D18', () => {
    assert.deepEqual([...coverage.keys()], rowIds)
    for (const [row, places] of coverage) assert.ok(places.length > 0, row)
  })

  for (const [row, places] of coverage) {
    it(`${row} is tested where it is said to be`, () => {
      for (const { file, says } of places) {
        const path = join(repository, file)
        assert.ok(existsSync(path), `${file} is not there`)
        assert.ok(readFileSync(path, 'utf8').includes(says), `${file} does not say “${says}”`)
      }
    })
  }

  it('has all rows of the corpus, and the suites are among those that run', () => {
    for (const { row } of attacks) assert.ok(coverage.has(row), row)
    const suites = endToEndPlan(['attacks']).alone
    for (const name of ['statements', 'bytes', 'sessions']) {
      assert.ok(suites.includes(join('test', 'e2e', 'attacks', `${name}.e2e.test.ts`)), name)
    }
  })
})
