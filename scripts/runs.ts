/**
 * The runs that `npm run check` and `npm test` are made of, and the one line that they end with. Each run adds to the tally;
 * lint and types count as one each.
 */
import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import { join, relative } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { endToEndPlan } from '../test/e2e/order.ts'

export const root: string = join(import.meta.dirname, '..')

/** Each file is a process, which takes half of its start to strip types: Node.js keeps what it made (its compile cache) for the next one. */
process.env.NODE_COMPILE_CACHE ??= join(root, '.ringfence', 'code')

/** A suite that hangs fails instead of everything after it. */
const fileMsMax = 15 * 60_000

/** What a run writes, and each group at once when one of its files has ended. */
type Write = (text: string) => void

export interface Tally {
  passed: number
  failed: number
  /** Each that failed, with where it stands and the beginning of why: all that is left where only the end of a long output is kept. */
  failures: string[]
  /** Whole suites that did not run, for a toolchain that is not there; with CI=true each is a failure. */
  skippedSuites: string[]
}

export function newTally(): Tally {
  return { passed: 0, failed: 0, failures: [], skippedSuites: [] }
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
  else {
    tally.failed += 1
    tally.failures.push(failure(title, undefined, output))
  }
  console.log(`${code === 0 ? '√' : '×'} ${title} (${seconds} s)`)
  if (code !== 0) console.log(output.trimEnd())
}

/** The files that match, in the order of their names. */
export function filesOf(...globs: readonly string[]): string[] {
  return globs.flatMap((glob) => globSync(glob, { cwd: root }).sort())
}

export interface RunOptions {
  /** Files at a time; 1 for those that measure, and for those that disturb. */
  readonly concurrency?: 1 | 2
  /**
   * A file's process ends with its last test. Where a client of a real part is left open, by a test that failed, the file would stand
   * for `fileMsMax` otherwise.
   */
  readonly endsAtOnce?: boolean
  readonly signal?: AbortSignal | undefined
}

/** Runs test files with Node's own runner, each in a process of its own, in the order given. */
export async function runTests(
  tally: Tally,
  title: string,
  files: readonly string[],
  options: RunOptions = {},
): Promise<void> {
  if (files.length === 0) return
  console.log(`\n${title}: ${files.length} files`)
  await runFiles(tally, files, options, (text) => process.stdout.write(text))
}

/** Files that run beside those of other groups. */
export interface Group extends Omit<RunOptions, 'signal'> {
  readonly files: readonly string[]
}

/** All groups beside each other. What they print is in order file by file. */
export async function runGroups(
  tally: Tally,
  title: string,
  groups: readonly Group[],
  signal?: AbortSignal,
): Promise<void> {
  if (groups.length === 0) return
  console.log(`\n${title}: ${groups.map(({ files }) => files.length).join(' beside ')} files`)
  const written = groups.map(() => '')
  const flush = (group: number): void => {
    process.stdout.write(written[group] ?? '')
    written[group] = ''
  }
  await Promise.all(
    groups.map(async ({ files, ...options }, group) => {
      const write: Write = (text) => {
        written[group] += text
      }
      await runFiles(tally, files, { ...options, signal }, write, () => setImmediate(flush, group))
      flush(group)
    }),
  )
}

async function runFiles(
  tally: Tally,
  files: readonly string[],
  { concurrency = 1, endsAtOnce = false, signal }: RunOptions,
  write: Write,
  ended: () => void = () => {},
): Promise<void> {
  const stream = run({
    files: files.map((file) => join(root, file)),
    concurrency,
    cwd: root,
    timeout: fileMsMax,
    execArgv: endsAtOnce ? ['--test-force-exit'] : [],
    ...(signal === undefined ? {} : { signal }),
  })
  stream.on('test:summary', ({ file, counts, duration_ms: ms }) => {
    if (file !== undefined) {
      write(`${relative(root, file)}: ${(ms / 1000).toFixed(1)} s\n`)
      return ended()
    }
    tally.passed += counts.passed
    tally.failed += counts.tests - counts.passed - counts.skipped - counts.todo
  })
  // A single test is skipped where a driver cannot do a thing; that is the suite's own affair.
  stream.on('test:pass', ({ name, skip, details }) => {
    if (details.type === 'suite' && skip !== undefined && skip !== false) tally.skippedSuites.push(`${name}: ${skip}`)
  })
  // A suite fails with each of its tests, which are told by themselves.
  stream.on('test:fail', ({ name, file, line, details: { error } }) => {
    const where = file === undefined ? undefined : `${relative(root, file)}:${line ?? 0}`
    const cause: unknown = error.cause ?? error
    if (!isOfSubtests(error)) tally.failures.push(failure(name, where, cause instanceof Error ? cause.message : cause))
  })
  for await (const chunk of stream.compose(new spec())) write(String(chunk))
}

const failureLinesMax = 8

/** Where it is, what it is called, and the first lines of why. */
function failure(name: string, where: string | undefined, why: unknown): string {
  const lines = String(why).trimEnd().split('\n').slice(0, failureLinesMax)
  return [`× ${where === undefined ? '' : `${where}: `}${name}`, ...lines.map((line) => `    ${line}`)].join('\n')
}

function isOfSubtests(error: Error): boolean {
  return 'failureType' in error && error.failureType === 'subtestsFailed'
}

/** Prints what failed, the suites that were skipped and the last line, and gives the exit code. */
export function conclude({ passed, failed, failures, skippedSuites }: Tally): number {
  for (const each of failures) console.log(each)
  for (const suite of skippedSuites) console.log(`skipped ${suite}`)
  const incomplete = process.env.CI === 'true' && skippedSuites.length > 0
  if (incomplete) console.log('with CI=true no suite may be skipped')
  console.log(`${passed} passed, ${failed} failed`)
  return failed > 0 || incomplete ? 1 : 0
}

/** Format, lint, types, layers, unit tests: what needs no real part and ends within minutes. */
export async function runChecks(tally: Tally): Promise<void> {
  await Promise.all([
    runTool(tally, 'format and lint (biome)', 'biome', ['check', '.']),
    runTool(tally, 'types (tsc)', 'tsc', ['-p', '.']),
  ])
  await runTests(
    tally,
    'layers and unit tests',
    filesOf('scripts/**/*.test.ts', 'src/**/*.test.ts', 'demo/**/*.test.ts'),
    { concurrency: 2 },
  )
}

/**
 * The suites on the mesh that this process holds, in the order of test/e2e/order.ts; with words, the files whose names contain one.
 *
 * @param beside Files that need no mesh and run beside the groups of that order.
 */
export async function runEndToEnd(
  tally: Tally,
  words: readonly string[] = [],
  signal?: AbortSignal,
  beside: Group = { files: [] },
): Promise<void> {
  const { groups, alone } = endToEndPlan(words)
  const all = [beside, ...groups.map((files): Group => ({ files, endsAtOnce: true }))]
  const title = beside.files.length === 0 ? 'end to end, two at a time' : 'parts of the path, beside suites end to end'
  await runGroups(
    tally,
    title,
    all.filter(({ files }) => files.length > 0),
    signal,
  )
  await runTests(tally, 'end to end, one at a time', alone, { endsAtOnce: true, signal })
}
