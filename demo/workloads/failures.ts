/**
 * What the sample workloads asked and did not get, though policy permits it. Each keeps its count in a file of its own, so that the screen
 * shows a loss instead of swallowing it.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { printable } from '../../src/cli/output.ts'
import { writeFileAtomically } from '../../src/mesh/files.ts'

export interface Failures {
  readonly workload: string
  readonly failed: number
  /** Why, of the last one. */
  readonly last: string
}

const fileName = 'failures.json'
const names = ['orders', 'report', 'alice', 'bob', 'forecast', 'shop', 'browsers'] as const

export function writeFailures(dir: string, failures: Failures): void {
  writeFileAtomically(join(dir, fileName), JSON.stringify(failures), 0o600)
}

/** Of one workload, in its folder. */
export class FailureCount {
  readonly #dir: string
  readonly #workload: string
  #failed = 0

  constructor(dir: string, workload: string) {
    this.#dir = dir
    this.#workload = workload
    this.#write('')
  }

  add(why: string): void {
    this.#failed++
    this.#write(why)
  }

  #write(last: string): void {
    writeFailures(this.#dir, { workload: this.#workload, failed: this.#failed, last })
  }
}

/** Of every workload that had one. */
export function readFailures(workloadsDir: string): Failures[] {
  return names.flatMap((name) => {
    try {
      return [JSON.parse(readFileSync(join(workloadsDir, name, fileName), 'utf8')) as Failures]
    } catch {
      return []
    }
  })
}

/** One line. */
export function failuresText(failures: readonly Failures[]): string {
  const some = failures.filter(({ failed }) => failed > 0)
  if (some.length === 0) return 'failed requests: none'
  const [worst] = some.toSorted((a, b) => b.failed - a.failed)
  const counts = some.map(({ workload, failed }) => `${workload} ${failed}`).join(', ')
  return `failed requests: ${counts} · last of ${worst?.workload}: ${printable(worst?.last ?? '')}`
}
