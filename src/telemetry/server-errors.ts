/**
 * A server that listens says by `error` that it could not take a connection, such as for want of file descriptors. Where nobody hears that,
 * it ends the process.
 */
import type { EventEmitter } from 'node:events'
import { contained, nothingEnds } from '../base/contained.ts'
import type { Logger } from './log.ts'
import { Repeated } from './repeated.ts'

/** From now on such errors are lines of this log. To be called when the server listens: before, an error is why it does not. */
export function logServerErrors(server: EventEmitter, log: Pick<Logger, 'warn'>): void {
  const said = new Repeated()
  server.on(
    'error',
    contained(nothingEnds, 'an error of a server', (error: Error) => {
      const repeated = said.due(error.message)
      if (repeated !== undefined) log.warn({ reason: error.message, repeated }, 'a connection could not be taken')
    }),
  )
}
