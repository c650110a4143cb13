/** Faults of our own in the log: each with its stack, a place that fails again and again at most once a second. */
import { reportFaults } from '../base/contained.ts'
import type { Logger } from './log.ts'

const pauseMs = 1000

/** From now on contained faults of this process are lines of this log. */
export function logFaults(log: Logger, nowMs: () => number = () => performance.now()): void {
  const saidMs = new Map<string, number>()
  reportFaults((place, err, faults) => {
    const now = nowMs()
    const before = saidMs.get(place)
    if (before !== undefined && now - before < pauseMs) return
    // Places are words of the code, so there are few.
    saidMs.set(place, now)
    log.error({ err, place, faults }, 'a fault of our own ended what it was for')
  })
}
