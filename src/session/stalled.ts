/**
 * Looks at all connections now and then: what waits for each is counted, and readers that take too little are closed (`reader-pace.ts`).
 */
import type { ClientConnection } from './connection.ts'

const SWEEP_MS = 1000

/** The result ends it. */
export function watchStalledReaders(connections: ReadonlySet<ClientConnection>): () => void {
  const timer = setInterval(() => {
    for (const connection of connections) connection.look()
  }, SWEEP_MS)
  timer.unref()
  return () => clearInterval(timer)
}
