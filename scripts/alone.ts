/**
 * Which test files of the path have the machine for themselves: those that look at a clock, at CPU or at memory, themselves or by what they
 * import of `test` and `bench`. All others run two at a time, beside suites of the mesh.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { importsOf } from './layers.ts'
import { filesOf, root } from './runs.ts'

const measures =
  /\bperformance\.now\b|[cC]puUsage\b|\bmemoryUsage\b|\bhrtime\b|\beventLoopUtilization\b|\bmonitorEventLoopDelay\b/

/** Look at the clock only to give up one day, or to see that something took as long as it must at least. */
export const waiters: ReadonlySet<string> = new Set([
  'test/e2e/drivers/toolchain.ts',
  'test/e2e/fixture.ts',
  'test/e2e/log-ins/programs.ts',
  'test/e2e/log-ins/refusal-suite.ts',
  'test/e2e/log-ins/thrown-out-suite.ts',
  'test/e2e/schema.ts',
  'test/path/client.ts',
  'test/path/program.ts',
  'test/path/proofs.test.ts',
  'test/path/states.test.ts',
  'test/path/world.ts',
  'test/production/applications.ts',
  'test/production/rehearsal.ts',
])

/** Take longest, so that they begin first. */
const longest = [
  'test/production/one-node.test.ts',
  'test/e2e/clouds/sts.test.ts',
  'test/oracle/schema.oracle.test.ts',
  'test/path/workload-api.test.ts',
]

export interface ByClock {
  readonly beside: readonly string[]
  readonly alone: readonly string[]
}

export function pathFiles(): string[] {
  return filesOf('test/**/*.test.ts', 'bench/**/*.test.ts').filter((file) => !file.endsWith('.e2e.test.ts'))
}

export function splitByClock(files: readonly string[]): ByClock {
  const alone = files.filter((file) => looksAtClock(file))
  const beside = files.filter((file) => !alone.includes(file))
  const rank = (file: string): number => (longest.includes(file) ? longest.indexOf(file) : longest.length)
  return { beside: beside.sort((a, b) => rank(a) - rank(b)), alone }
}

export function looksAtClock(file: string, seen: Set<string> = new Set(), waiting = waiters): boolean {
  if (seen.has(file)) return false
  seen.add(file)
  const source = readFileSync(join(root, file), 'utf8')
  if (measures.test(source) && !waiting.has(file)) return true
  return importsOf(file, source).some(
    (target) => /^(test|bench)\/.*\.ts$/.test(target) && looksAtClock(target, seen, waiting),
  )
}
