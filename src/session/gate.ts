/**
 * Holds bytes back in front of a socket until everything is written that was told of before them. It is used where the record is written
 * asynchronously, such as by a group commit.
 *
 * Rule: bytes go on in the order in which they came. Once the record has failed none do: the socket ends.
 */
import { Writable } from 'node:stream'
import { contained, type Owner, settle } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'

/** Resolves when everything is written that was told of before this call; false if it was not. */
export type Committed = () => Promise<boolean>

export function gated(socket: Writable, committed: Committed): Writable {
  const owner: Owner = { onFault: () => fail() }
  const gate = new Writable({
    writev: (chunks, done) => {
      const bytes = chunks.map(({ chunk }) => chunk as Buffer)
      const pass = (isWritten: boolean): void => {
        if (!isWritten) fail()
        else
          for (const [index, each] of bytes.entries()) socket.write(each, index + 1 < bytes.length ? undefined : done)
      }
      settle(owner, 'a group commit', committed(), pass, fail)
    },
    final: (done) => {
      socket.end(done)
    },
    destroy: (reason, done) => {
      socket.destroy(reason ?? undefined)
      done(null)
    },
  })
  // Whoever waits for room listens to the socket.
  gate.on(
    'drain',
    contained(owner, 'room in front of a socket', () => void socket.emit('drain')),
  )
  socket.on(
    'close',
    contained(owner, 'the end of a socket', () => void gate.destroy()),
  )
  return gate

  function fail(): void {
    gate.destroy(new RingfenceError('UNAVAILABLE', 'the audit record cannot be written'))
  }
}
