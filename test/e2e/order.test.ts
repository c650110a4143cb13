/** Without a mesh: a suite that runs beside another is one that may. */
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { importsOf } from '../../scripts/layers.ts'
import { besideEachOther, endToEndPlan, fileOf } from './order.ts'

const repository = join(import.meta.dirname, '..', '..')
const groups = besideEachOther.map((names) => names.map(fileOf))

/** What a suite says itself, and what it imports that is the suites' own. */
function sourcesOf(file: string, seen: Map<string, string> = new Map()): Map<string, string> {
  if (seen.has(file)) return seen
  const source = readFileSync(join(repository, file), 'utf8')
  seen.set(file, source)
  for (const target of importsOf(file, source)) if (target.startsWith('test/e2e/')) sourcesOf(target, seen)
  return seen
}

/** These make the mesh and its parts what they are. */
const parts = new Set(['test/e2e/fixture.ts', 'test/e2e/held.ts'])

function says(file: string, words: RegExp): boolean {
  return [...sourcesOf(file)].some(([from, source]) => !parts.has(from) && words.test(source))
}

const actsOnParts = /\.part\(/
const changesPolicy = /\bapplyPolicy\(/

describe('the suites that run beside another', () => {
  it('are there, and each once', () => {
    for (const file of groups.flat()) assert.ok(existsSync(join(repository, file)), file)
    assert.equal(new Set(groups.flat()).size, groups.flat().length)
  })

  it('stop, kill and start no part; those that do are found', () => {
    for (const file of groups.flat()) assert.ok(!says(file, actsOnParts), file)
    for (const name of ['faults', 'gateways']) assert.ok(says(fileOf(name), actsOnParts), name)
  })

  it('put a policy in force in one group only; those that do are found', () => {
    const [first = [], ...others] = groups
    for (const file of others.flat()) assert.ok(!says(file, changesPolicy), file)
    for (const file of first) assert.ok(says(file, changesPolicy), file)
    assert.ok(says(fileOf('attacks/sessions'), changesPolicy))
  })
})

describe('the suites that stop or kill a node', () => {
  it('have it write its schema before, for it does not by itself; those that do are found', () => {
    const all = globSync('test/e2e/**/*.e2e.test.ts', { cwd: repository })
    const found = all.filter((file) => says(file, actsOnParts) && says(file, /['"`]cassandra-(?:\d|\$\{)/))
    assert.ok(found.includes(fileOf('faults')))
    for (const file of found) assert.ok(says(file, /await keepSchema\(/), file)
  })
})

describe('the order of the suites', () => {
  it('has each of them once, and last what breaks the mesh', () => {
    const { groups: beside, alone } = endToEndPlan()
    const all = globSync('test/e2e/**/*.e2e.test.ts', { cwd: repository })
    assert.deepEqual([...beside.flat(), ...alone].sort(), all.sort())
    assert.deepEqual(alone.slice(-4), ['gateways', 'bypass', 'hostile', 'faults'].map(fileOf))
  })

  it('is the same for some of them', () => {
    assert.deepEqual(endToEndPlan(['pages', 'cqlsh', 'hostile']), {
      groups: [[fileOf('drivers/pages')], [fileOf('drivers/cqlsh')]],
      alone: [fileOf('hostile')],
    })
    assert.deepEqual(endToEndPlan(['faults']), { groups: [], alone: [fileOf('faults')] })
    assert.deepEqual(endToEndPlan(['absent']), { groups: [], alone: [] })
  })
})
