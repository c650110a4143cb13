/** Profiles of this process, for somebody who looks for what is slow or large. One at a time. */
import { Session } from 'node:inspector/promises'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { getHeapSnapshot } from 'node:v8'

let isProfiling = false

/** As JSON; undefined while another is made. */
export async function cpuProfile(ms: number): Promise<string | undefined> {
  if (isProfiling) return undefined
  isProfiling = true
  const session = new Session()
  try {
    session.connect()
    await session.post('Profiler.enable')
    await session.post('Profiler.start')
    await sleep(ms)
    const { profile } = await session.post('Profiler.stop')
    return JSON.stringify(profile)
  } finally {
    session.disconnect()
    isProfiling = false
  }
}

/** Everything that is in memory. It stops the process for as long as it takes. */
export function heapSnapshot(): Readable {
  return getHeapSnapshot().setEncoding('utf8')
}
