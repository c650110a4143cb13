/**
 * Loaded into the process that is measured, with `--import`: how long its event loop stood still at most. On SIGUSR2 the figure since
 * the last one is written to `DEAREST_PROBE`, in milliseconds, and counted anew.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'

const file = process.env.DEAREST_PROBE

// A sidecar's other threads have loops of their own, which nobody waits for.
if (file !== undefined && isMainThread) {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  process.on('SIGUSR2', () => {
    // A timer of one millisecond comes after one to two where nothing else is to be done.
    writeFileSync(`${file}.new`, `${delay.max / 1e6}\n`)
    renameSync(`${file}.new`, file)
    delay.reset()
  })
}
