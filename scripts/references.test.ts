import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { coverage } from '../test/e2e/attacks/coverage.ts'
import { danglingReferences, rowsOf } from './references.ts'

const root = join(import.meta.dirname, '..')
const read = (file: string): string => readFileSync(join(root, file), 'utf8')
const files = globSync(['{src,test,docs,bench,demo,scripts,deploy,bin,examples}/**/*.*', '*.md', '*.json'], {
  cwd: root,
  exclude: (name) => name.includes('node_modules'),
}).sort()
const attacks = rowsOf(read('docs/attacks.md'))
const faults = rowsOf(read('docs/faults.md'))
const known = { rows: new Set(attacks.keys()), files }

describe('references', () => {
  it('lead somewhere, in code, tests and documents', () => {
    const looked = files.filter((file) => /\.(ts|mjs|md)$/.test(file) && !file.startsWith('scripts/references'))
    assert.deepEqual(
      looked.flatMap((file) => danglingReferences(file, read(file), known)),
      [],
    )
  })

  it('of a catalogue are to tests that are there and say so', () => {
    assert.ok(attacks.size > 60 && faults.size >= 16)
    for (const [row, shownBy] of [...attacks, ...faults]) {
      const cells = [...shownBy.matchAll(/`([^`]+)`(?:: (“[^”]+”(?:, “[^”]+”)*))?/g)]
      assert.ok(cells.length > 0, `row ${row} is shown by nothing`)
      for (const [, file = '', words = ''] of cells) {
        assert.ok(files.includes(file), `row ${row}: there is no ${file}`)
        for (const [, quote = ''] of words.matchAll(/“([^”]+)”/g))
          assert.ok(read(file).includes(quote), `row ${row}: ${file} does not say “${quote}”`)
      }
    }
  })

  it('of the rows that are run against real parts are those of coverage.ts', () => {
    for (const [row, places] of coverage)
      for (const { file } of places)
        assert.ok(attacks.get(row)?.includes(file), `row ${row} of docs/attacks.md lacks ${file}`)
  })

  it('are found where they lead nowhere', () => {
    for (const [text, problems] of [
      ['// see attack B4', 0],
      ['// see attack B44', 1],
      ["it('D99: refuses', () => {})", 1],
      ["it('C2 columns', () => {})", 0],
      ['/** Longest (G17). */', 1],
      ['/** as mesh.md §2.2 says */', 2],
      ['// data-access trap 41', 2],
      ['// issue 18', 1],
      ['// a stranger’s trap', 0],
      ['/** `layers.ts` and `scripts/layers.ts` */', 0],
      ['/** `not-there-at-all.ts` */', 1],
    ] as const)
      assert.equal(danglingReferences('src/x.ts', text, known).length, problems, text)
    assert.equal(
      danglingReferences('docs/x.md', '[a](attacks.md#a) [b](https://example.org) [c](../src)', known).length,
      0,
    )
    assert.equal(danglingReferences('docs/x.md', '[a](nowhere.md)', known).length, 1)
  })
})
