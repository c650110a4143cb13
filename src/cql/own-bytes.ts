/**
 * Whose the bytes of an envelope are. What is handed on is lent for the call, and whoever keeps it makes a copy. A copy of 100 MB would
 * take 50 ms of the loop. A long envelope comes in parts, though, and was put together in memory of its own.
 */
import { copyOf, type Envelope } from './envelope.ts'

/** A longer envelope does not fit into what is read at once, so it is never in memory that is read into again. */
export const longEnvelopeBytes = 256 * 1024

/**
 * The bytes of an envelope to keep: a copy, or those of a long envelope that has its buffer alone.
 * Rule: nobody writes to a long envelope after it was handed on, neither who gave it nor who keeps it.
 */
export function ownBytes(envelope: Envelope): Buffer {
  const { bytes, start, end } = envelope
  const isAlone = end - start > longEnvelopeBytes && start === 0 && end === bytes.length
  return isAlone ? bytes : copyOf(envelope)
}
