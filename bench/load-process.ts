/** The load maker in a process of its own, so that reading the CPU clocks of the hops does not disturb it. */
import { fork } from 'node:child_process'
import { join } from 'node:path'
import type { LoadResult } from './latencies.ts'
import type { LoadMessage, LoadPlan } from './load.ts'
import type { LoadMaker } from './loads.ts'
import { cpuSeconds, residentBytes } from './processes.ts'

export interface Measured {
  readonly result: LoadResult
  /** Seconds that the processes and their children used in the measured time. */
  readonly cpu: number
  /** Their resident memory at the end of it. */
  readonly residentBytes: number
}

const programs = { own: 'load.ts', driver: 'driver-load.ts' } as const satisfies Record<LoadMaker, string>

/** `pids`: the processes to measure. Rejects when the load maker fails. */
export function runLoad(plan: LoadPlan, pids: readonly number[], maker: LoadMaker = 'own'): Promise<Measured> {
  return new Promise((resolve, reject) => {
    const child = fork(join(import.meta.dirname, programs[maker]), [JSON.stringify(plan)], {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    })
    let complaint = ''
    let before = 0
    child.stderr?.on('data', (chunk: Buffer) => {
      complaint = (complaint + chunk.toString()).slice(-2000)
    })
    child.on('message', (message: LoadMessage) => {
      if (message.kind === 'begin') before = cpuSeconds(pids)
      else resolve({ result: message.result, cpu: cpuSeconds(pids) - before, residentBytes: residentBytes(pids) })
    })
    child.on('error', reject)
    child.on('exit', (code) => reject(new Error(`the load maker ended with code ${code}: ${complaint}`)))
  })
}
