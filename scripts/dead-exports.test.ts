import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { deadExports, needlessExports } from './dead-exports.ts'

const root = join(import.meta.dirname, '..')

/** Numbers that a test holds a bound against, and that nothing else asks for. */
const windows = [
  'src/base/contained.ts: faultsContained',
  'src/base/bytes-budget.ts: heldByIdentity',
  'src/gateway/routing/ring.ts: setCount',
]

describe('dead exports', () => {
  it('are none in src', () => {
    const files = globSync(['{src,demo,bench,scripts}/**/*.{ts,mjs}', 'bin/*.mjs'], { cwd: root }).sort()
    const dead = deadExports(new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')])))
    assert.deepEqual(
      dead.filter((one) => !windows.includes(one)),
      [],
    )
  })

  it('are none that no other file imports', () => {
    const files = globSync(['{src,test,demo,bench,scripts}/**/*.{ts,mjs}', 'bin/*.mjs'], { cwd: root }).sort()
    assert.deepEqual(needlessExports(new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]))), [])
  })

  it('are needless where only their own file uses them, however another imports', () => {
    const alone = 'export const limit = 5\nexport type Limit = number\nexport class Box {}\nnew Box(limit)'
    const by = (user: string): string[] =>
      needlessExports(
        new Map([
          ['src/own.ts', alone],
          ['src/user.ts', user],
        ]),
      )
    assert.deepEqual(by('limit + Box'), ['src/own.ts: limit', 'src/own.ts: Box'])
    for (const user of [
      `import { type Box, limit as max } from './own.ts'`,
      `import type {\n  Box,\n  limit,\n} from './own.ts'`,
      `export { Box, limit } from './own.ts'`,
      `const { Box, limit } = await import('./own.ts')`,
      `import * as own from './own.ts'\nnew own.Box(own.limit)`,
    ])
      assert.deepEqual(by(user), [], user)
  })

  const own = `export function used() {}\nexport function unused() {}\nexport class Thing {\n  go() {}\n  halt(): void {}\n}`
  const user = `import { used, Thing } from './own.ts'\nnew Thing(used()).go()`

  it('are told from what production uses', () => {
    const sources = new Map([
      ['src/own.ts', own],
      ['src/user.ts', user],
    ])
    assert.deepEqual(deadExports(sources), ['src/own.ts: unused', 'src/own.ts: halt'])
    assert.deepEqual(deadExports(new Map([...sources, ['bench/run.ts', 'unused(thing.halt())']])), [])
  })

  it('are dead where only a test or a comment names them', () => {
    const sources = new Map([
      ['src/own.ts', own],
      ['src/user.ts', `${user}\n// unused() and halt()\n/** {@link unused} halt */`],
    ])
    for (const test of ['src/own.test.ts', 'src/own.fuzz.ts', 'src/own.fixture.ts', 'src/fixtures.ts'])
      assert.deepEqual(deadExports(new Map([...sources, [test, 'unused(thing.halt())']])), [
        'src/own.ts: unused',
        'src/own.ts: halt',
      ])
  })
})
