/**
 * Checks all connections each second: what waits for each is counted, and readers that take too little are closed (`reader-pace.ts`).
 */
import { contain, every, nothingEnds } from '../base/contained.ts'
import type { ClientConnection } from './connection.ts'

const sweepMs = 1000

/** The result ends it. */
export function watchStalledReaders(connections: ReadonlySet<ClientConnection>): () => void {
  const timer = every(nothingEnds, 'the sweep of connections', sweepMs, () => {
    for (const connection of connections) {
      const owner = { onFault: () => connection.destroy('a fault of our own while its reader was checked') }
      contain(owner, 'the check of a reader', () => connection.checkReader())
    }
  })
  timer.unref()
  return () => clearInterval(timer)
}
