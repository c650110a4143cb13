/**
 * Looks at all connections now and then: what waits for each is counted, and readers that take too little are closed (`reader-pace.ts`).
 */
import { contain, every, nothingEnds } from '../base/contained.ts'
import type { ClientConnection } from './connection.ts'

const SWEEP_MS = 1000

/** The result ends it. */
export function watchStalledReaders(connections: ReadonlySet<ClientConnection>): () => void {
  const timer = every(nothingEnds, 'the sweep of connections', SWEEP_MS, () => {
    for (const connection of connections) {
      const owner = { onFault: () => connection.destroy('a fault of our own while it was looked at') }
      contain(owner, 'a look at a connection', () => connection.look())
    }
  })
  timer.unref()
  return () => clearInterval(timer)
}
