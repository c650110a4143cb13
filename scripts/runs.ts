/**
 * The runs that `npm run check` and `npm test` are made of, and the one line that they end with. Each run adds to the tally;
 * lint and types count as one each.
 */
import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

export const root: string = join(import.meta.dirname, '..')

/** Each file is a process, which takes half of its start to strip types: Node.js keeps what it made (its compile cache) for the next one. */
process.env.NODE_COMPILE_CACHE ??= join(root, '.ringfence', 'code')

/** A suite that hangs fails instead of everything after it. */
const fileMsMax = 15 * 60_000

export interface Tally {
  passed: number
  failed: number
  /** Whole suites that did not run, for a toolchain that is not there; with CI=true each is a failure. */
  skippedSuites: string[]
}

export function newTally(): Tally {
  return { passed: 0, failed: 0, skippedSuites: [] }
}

/** One outside checker: its output is shown when it fails. */
export async function runTool(tally: Tally, title: string, command: string, args: readonly string[]): Promise<void> {
  const started = performance.now()
  const { code, output } = await new Promise<{ code: number; output: string }>((resolve) => {
    const child = spawn(join(root, 'node_modules', '.bin', command), args, { cwd: root })
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.on('error', (error) => resolve({ code: 1, output: error.message }))
    child.on('close', (exit) => resolve({ code: exit ?? 1, output: Buffer.concat(chunks).toString() }))
  })
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  if (code === 0) tally.passed += 1
  else tally.failed += 1
  console.log(`${code === 0 ? '√' : '×'} ${title} (${seconds} s)`)
  if (code !== 0) console.log(output.trimEnd())
}

/** The files that match, in the order of their names. */
export function filesOf(...globs: readonly string[]): string[] {
  return globs.flatMap((glob) => globSync(glob, { cwd: root }).sort())
}

/**
 * Runs test files with Node's own runner, each in a process of its own, in the order given.
 * @param concurrency files at a time; 1 for those that share real parts
 * @param ended a file's process ends with its last test. Where a client of a real part is left open, by a test that failed, the file would
 *   stand for `fileMsMax` otherwise.
 */
export async function runTests(
  tally: Tally,
  title: string,
  files: readonly string[],
  concurrency: number,
  ended: 'by itself' | 'at once' = 'by itself',
): Promise<void> {
  if (files.length === 0) return
  console.log(`\n${title}: ${files.length} files`)
  const stream = run({
    files: files.map((file) => join(root, file)),
    concurrency,
    cwd: root,
    timeout: fileMsMax,
    execArgv: ended === 'at once' ? ['--test-force-exit'] : [],
  })
  stream.on('test:summary', ({ file, counts }) => {
    if (file !== undefined) return
    tally.passed += counts.passed
    tally.failed += counts.tests - counts.passed - counts.skipped - counts.todo
  })
  // A single test is skipped where a driver cannot do a thing; that is the suite's own affair.
  stream.on('test:pass', ({ name, skip, details }) => {
    if (details.type === 'suite' && skip !== undefined && skip !== false) tally.skippedSuites.push(`${name}: ${skip}`)
  })
  for await (const chunk of stream.compose(new spec())) process.stdout.write(chunk as Buffer)
}

/** Prints the suites that were skipped and the last line, and gives the exit code. */
export function conclude({ passed, failed, skippedSuites }: Tally): number {
  for (const suite of skippedSuites) console.log(`skipped ${suite}`)
  const incomplete = process.env.CI === 'true' && skippedSuites.length > 0
  if (incomplete) console.log('with CI=true no suite may be skipped')
  console.log(`${passed} passed, ${failed} failed`)
  return failed > 0 || incomplete ? 1 : 0
}

/** Format, lint, types, layers, unit tests: what needs no real part and ends within a minute. */
export async function runChecks(tally: Tally): Promise<void> {
  await Promise.all([
    runTool(tally, 'format and lint (biome)', 'biome', ['check', '.']),
    runTool(tally, 'types (tsc)', 'tsc', ['-p', '.']),
  ])
  await runTests(
    tally,
    'layers and unit tests',
    filesOf('scripts/**/*.test.ts', 'src/**/*.test.ts', 'demo/**/*.test.ts'),
    2,
  )
}
