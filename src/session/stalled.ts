/**
 * Readers that take nothing for `stalledReaderMs` are closed (attack E3), so that what they asked for does not wait for ever.
 */
import { limits } from '../base/limits.ts'
import type { ClientConnection } from './connection.ts'

const SWEEP_MS = 5000

/** Looks at `connections` now and then; the result ends that. */
export function watchStalledReaders(connections: ReadonlySet<ClientConnection>): () => void {
  const timer = setInterval(() => {
    const before = Date.now() - limits.stalledReaderMs
    for (const connection of connections) {
      const since = connection.stalledSinceMs
      if (since !== 0 && since < before) connection.destroy('stalledReaderMs passed')
    }
  }, SWEEP_MS)
  timer.unref()
  return () => clearInterval(timer)
}
