/** The end of a run names each test that failed: where only the end of a long output is kept, it is all that there is. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { root } from './runs.ts'

test('the last lines of a run name what failed, where it is and why', () => {
  const folder = mkdtempSync(join(tmpdir(), 'runs-'))
  try {
    const file = join(folder, 'three.test.ts')
    writeFileSync(file, suite)
    const lines = run(relative(root, file))
    assert.match(lines.at(-1) ?? '', /^1 passed, 3 failed$/)
    const end = lines.slice(lines.findIndex((line) => line.startsWith('× '))).join('\n')
    assert.match(end, /^× .*three\.test\.ts:4: is one\n {4}.*1 !== 2/s)
    assert.match(end, /^× .*three\.test\.ts:6: throws\n {4}what was not foreseen\n {4}in two lines$/m)
    assert.match(end, /^× .*three\.test\.ts:7: never ends\n {4}/m)
    assert.doesNotMatch(end, /^× .*: a suite$/m)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a run in which nothing failed ends with its counts alone', () => {
  const folder = mkdtempSync(join(tmpdir(), 'runs-'))
  try {
    const file = join(folder, 'good.test.ts')
    writeFileSync(file, `import { test } from 'node:test'\ntest('passes', () => {})\n`)
    const lines = run(relative(root, file))
    assert.equal(lines.at(-1), '1 passed, 0 failed')
    assert.deepEqual(
      lines.filter((line) => line.startsWith('× ')),
      [],
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('groups run beside each other, and all of them count', () => {
  const folder = mkdtempSync(join(tmpdir(), 'runs-'))
  try {
    // Each waits for the other to have begun.
    const files = ['one', 'other'].map((name, i, names) => {
      const file = join(folder, `${name}.test.ts`)
      writeFileSync(file, meeting(join(folder, name), join(folder, names[1 - i]!)))
      return relative(root, file)
    })
    const [one, other] = files.map((file) => `{ files: [${JSON.stringify(file)}] }`)
    const lines = runOf(files[0]!, `await runGroups(tally, 'some', [${one}, ${other}])`)
    assert.equal(lines.at(-1), '2 passed, 0 failed')
    assert.ok(lines.includes('some: 1 beside 1 files'))
  } finally {
    rmSync(folder, { recursive: true })
  }
})

const meeting = (own: string, other: string): string => `import { existsSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
test('meets the other', { timeout: 60_000 }, async () => {
  writeFileSync(${JSON.stringify(own)}, '')
  while (!existsSync(${JSON.stringify(other)})) await sleep(10)
})
`

const suite = `import assert from 'node:assert/strict'
import { describe, it, test } from 'node:test'
describe('a suite', () => {
  it('is one', () => assert.equal(1, 2))
  it('passes', () => {})
  it('throws', () => { throw new Error('what was not foreseen\\nin two lines') })
  test('never ends', { timeout: 50 }, () => new Promise(() => setTimeout(() => {}, 1000)))
})
`

/** What a run of this file prints, line by line. */
function run(file: string): string[] {
  return runOf(file, `await runTests(tally, 'some', [${JSON.stringify(file)}])`)
}

/** What a program prints that runs tests so; it lies beside `file`. */
function runOf(file: string, how: string): string[] {
  const program = `
    import { conclude, newTally, runGroups, runTests } from ${JSON.stringify(join(root, 'scripts/runs.ts'))}
    const tally = newTally()
    ${how}
    process.exit(conclude(tally))`
  // A run inside a run of Node's own runner would report to that one.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const path = join(root, dirname(file), 'run.mts')
  writeFileSync(path, program)
  const { stdout, stderr } = spawnSync(process.execPath, [path], { cwd: root, env })
  return `${stdout}${stderr}`.trimEnd().split('\n')
}
