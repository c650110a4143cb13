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
  const program = `
    import { conclude, newTally, runTests } from ${JSON.stringify(join(root, 'scripts/runs.ts'))}
    const tally = newTally()
    await runTests(tally, 'some', [${JSON.stringify(file)}])
    process.exit(conclude(tally))`
  // A run inside a run of Node's own runner would report to that one.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const path = join(root, dirname(file), 'run.mts')
  writeFileSync(path, program)
  const { stdout, stderr } = spawnSync(process.execPath, [path], { cwd: root, env })
  return `${stdout}${stderr}`.trimEnd().split('\n')
}
