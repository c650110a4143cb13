/**
 * Loaded into the processes that are measured, with `--import`: each half second, how long the event loop has been at work, and the CPU of its
 * thread. On SIGUSR2 what was noted since the last one is written to `LOG_INS_PROBE.<pid>`, as JSON, and forgotten.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'

export interface Sample {
  /** Since 1970, in fractions of a millisecond: processes of one machine agree. */
  readonly atMs: number
  /** All from the start of the process on. */
  readonly busyMs: number
  readonly cpuMs: number
}

const everyMs = 500
const file = process.env.LOG_INS_PROBE

// Other threads have loops of their own, which nobody waits for.
if (file !== undefined && isMainThread) {
  let samples: Sample[] = []
  const note = (): void => {
    const { user, system } = process.threadCpuUsage()
    const atMs = performance.timeOrigin + performance.now()
    samples.push({ atMs, busyMs: performance.eventLoopUtilization().active, cpuMs: (user + system) / 1_000 })
  }
  setInterval(note, everyMs).unref()
  process.on('SIGUSR2', () => {
    writeFileSync(`${file}.${process.pid}.new`, JSON.stringify(samples))
    renameSync(`${file}.${process.pid}.new`, `${file}.${process.pid}`)
    samples = []
  })
}
