import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { circlesOf } from './circles.ts'

const root = join(import.meta.dirname, '..')

describe('circles between files', () => {
  it('finds none in src', () => {
    const files = globSync('src/**/*.ts', { cwd: root }).sort()
    const circles = circlesOf(new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')])))
    assert.deepEqual(circles, [])
  })

  const line = new Map([
    ['src/a/x.ts', `import { y } from './y.ts'`],
    ['src/a/y.ts', `import { z } from '../b/z.ts'`],
    ['src/b/z.ts', `import { sep } from 'node:path'`],
  ])

  it('lets imports lead one way, also to one file by two ways', () => {
    assert.deepEqual(circlesOf(line), [])
    assert.deepEqual(circlesOf(new Map([...line, ['src/a/w.ts', `import './x.ts'\nimport './y.ts'`]])), [])
  })

  it('finds a way back, of whatever form', () => {
    for (const back of [
      `import { x } from '../a/x.ts'`,
      `import type { X } from '../a/x.ts'`,
      `export { x } from '../a/x.ts'`,
      `const { x } = await import('../a/x.ts')`,
      `import '../a/x.ts'`,
    ])
      assert.deepEqual(circlesOf(new Map([...line, ['src/b/z.ts', back]])), [
        ['src/a/x.ts', 'src/a/y.ts', 'src/b/z.ts'],
      ])
    assert.deepEqual(circlesOf(new Map([['src/a/x.ts', `import { x } from './x.ts'`]])), [['src/a/x.ts']])
  })

  it('tells two circles apart, and says nothing of what only leads to one', () => {
    const two = new Map([
      ['src/a.ts', `import './b.ts'`],
      ['src/b.ts', `import './a.ts'\nimport './c.ts'`],
      ['src/c.ts', `import './d.ts'`],
      ['src/d.ts', `import './c.ts'`],
      ['src/e.ts', `import './a.ts'`],
    ])
    assert.deepEqual(circlesOf(two), [
      ['src/a.ts', 'src/b.ts'],
      ['src/c.ts', 'src/d.ts'],
    ])
  })
})
