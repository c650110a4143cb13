/**
 * Loaded into the process that is measured, with `--import`: how long its event loop stood still at most, and how much CPU its thread took
 * at most from one look to the next. Where the first is more, others had the core, or the collector's helpers were waited for. On SIGUSR2
 * both since the last one are written to `DEAREST_PROBE`, in milliseconds, and counted anew.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'

const file = process.env.DEAREST_PROBE

export interface Probed {
  readonly loopMs: number
  readonly cpuMs: number
}

// A sidecar's other threads have loops of their own, which nobody waits for.
if (file !== undefined && isMainThread) {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  let before = process.threadCpuUsage()
  let longestMicros = 0
  setInterval(() => {
    const { user, system } = process.threadCpuUsage(before)
    before = process.threadCpuUsage()
    longestMicros = Math.max(longestMicros, user + system)
  }, 1).unref()
  process.on('SIGUSR2', () => {
    // A timer of one millisecond comes after one to two where nothing else is to be done.
    const probed: Probed = { loopMs: delay.max / 1e6, cpuMs: longestMicros / 1e3 }
    writeFileSync(`${file}.new`, JSON.stringify(probed))
    renameSync(`${file}.new`, file)
    delay.reset()
    longestMicros = 0
  })
}
