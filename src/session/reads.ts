/**
 * Reading a TLS connection that this end opened into one buffer, again and again. A `data` event would cost a new buffer for each
 * read, and V8 answers so much outside memory with full collections.
 */
import type { OnReadOpts } from 'node:net'

const readBytes = 64 * 1024

/**
 * An option for `tls.connect`. `onData` is called with what was read, borrowed for the call, as soon as there is something: also
 * before the caller has looked at the peer's certificate. Such a connection has no `data` event and is never paused.
 */
export function reusedReads(onData: (chunk: Buffer) => void): { onread: OnReadOpts } {
  const buffer = Buffer.allocUnsafeSlow(readBytes)
  return {
    onread: {
      buffer,
      callback: (bytes) => {
        onData(buffer.subarray(0, bytes))
        return true
      },
    },
  }
}
