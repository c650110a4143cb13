/** A process of the mesh that can go and come back, by its name; tests of faults stop, kill and start it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { RingfenceError } from '../../src/base/errors.ts'
import type { Child, Processes } from './processes.ts'
import { repoRoot } from './setup.ts'

export interface MeshPart {
  readonly name: string
  readonly running: boolean
  readonly pid: number | undefined
  /** Resolves when it answers; `env` is added to its environment. */
  start(env?: Readonly<Record<string, string>>): Promise<void>
  stop(): Promise<void>
  kill(): Promise<void>
}

/** A second or two are usual; two busy cores take many more. */
const startTimeoutMs = 90_000

/**
 * @param launch resolves when it answers
 * @param running where it is there already
 */
export function partOf(
  name: string,
  launch: (env: Readonly<Record<string, string>>) => Promise<Child>,
  running?: Child,
): MeshPart {
  let child = running
  return {
    name,
    get running() {
      return child?.running ?? false
    },
    get pid() {
      return child?.running === true ? child.pid : undefined
    },
    start: async (env = {}) => {
      if (child?.running !== true) child = await launch(env)
    },
    stop: async () => child?.stop(),
    kill: async () => child?.kill(),
  }
}

/** The program `ringfence`, as an operator would start it. */
export function spawnRingfence(
  processes: Processes,
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Child> {
  const program = join(repoRoot, 'src', 'cli', 'main.ts')
  return processes.spawn(name, process.execPath, [program, ...args], { env })
}

/** Throws UNAVAILABLE with the end of its log where it ends or does not answer in time; it is gone then. */
export async function untilReady(child: Child, isReady: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + startTimeoutMs
  while (!(await isReady())) {
    if (child.running && performance.now() < deadline) {
      await sleep(50)
      continue
    }
    const reason = child.running ? `does not answer after ${startTimeoutMs / 1000} s` : 'ended before it was ready'
    await child.kill()
    throw new RingfenceError('UNAVAILABLE', `${child.name} ${reason}`, {
      hint: `the end of ${child.logFile}:\n  ${lastLines(child.logFile, 8).join('\n  ')}`,
    })
  }
}

function lastLines(file: string, count: number): string[] {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count)
  } catch {
    return []
  }
}
