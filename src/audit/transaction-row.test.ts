import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { rowColumns } from './transaction-row.ts'

const page = readFileSync(join(import.meta.dirname, '../../docs/audit.md'), 'utf8')

/** Fields of lines that are no transaction stand in examples only. */
function fieldsOfExamples(): string[] {
  const lines = [...page.matchAll(/^\{"time".*\}$/gm)].map(([line]) => JSON.parse(line) as Record<string, unknown>)
  assert.ok(lines.length >= 3)
  return lines.flatMap((line) =>
    Object.entries(line).flatMap(([name, value]) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.keys(value).map((inner) => `${name}.${inner}`)
        : [name],
    ),
  )
}

describe('rows of the record', () => {
  it('have a column for each field that docs/audit.md names', () => {
    const [, afterHead = ''] = page.split('| field | meaning |')
    const [table = ''] = afterHead.split('\n\n')
    const documented = [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name = '']) => name)
    assert.ok(documented.length > 30)
    const outer = new Set(rowColumns.flatMap(({ from }) => from.map((path) => path.split('.')[0])))
    assert.deepEqual(
      documented.filter((name) => !outer.has(name)),
      [],
    )
    const paths = new Set(rowColumns.flatMap(({ from }) => from))
    assert.deepEqual(
      fieldsOfExamples().filter((path) => !paths.has(path)),
      [],
    )
  })

  it('have each name once, and each field in one column', () => {
    const names = rowColumns.map(({ name }) => name)
    assert.equal(new Set(names).size, names.length)
    const paths = rowColumns.flatMap(({ from }) => from)
    assert.equal(new Set(paths).size, paths.length)
  })
})
