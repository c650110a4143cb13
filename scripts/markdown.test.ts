/** Pages are read in editors and in diffs as well: no line but a row of a table, or a block of code, is longer than an eye can follow. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'

const root = join(import.meta.dirname, '..')
const columnsMax = 200

describe('pages', () => {
  it(`have no line of more than ${columnsMax} columns, tables and code apart`, () => {
    const found: string[] = []
    for (const file of globSync(['*.md', '{bench,demo,deploy,docs,test}/**/*.md'], { cwd: root })) {
      let isCode = false
      for (const [at, line] of readFileSync(join(root, file), 'utf8').split('\n').entries()) {
        if (/^\s*(?:```|~~~)/.test(line)) isCode = !isCode
        if (!isCode && !line.trimStart().startsWith('|') && line.length > columnsMax) found.push(`${file}:${at + 1}`)
      }
    }
    assert.deepEqual(found, [])
  })
})
