/** The tracing id of a response, which stands before all else in its body (native_protocol_v5.spec §2.2, flag 0x02). */
import type { Envelope } from '../envelope.ts'
import { envelopeHeaderBytes, Flag, headerFlags } from '../protocol.ts'
import { splice } from './splice.ts'

export const tracingIdBytes = 16
const flagsAt = 1

/** A copy; undefined where the response has none. */
export function tracingIdOf({ bytes, start, end }: Envelope): Buffer | undefined {
  const at = start + envelopeHeaderBytes
  if ((headerFlags(bytes, start) & Flag.TRACING) === 0 || at + tracingIdBytes > end) return undefined
  return Buffer.from(bytes.subarray(at, at + tracingIdBytes))
}

/** The same response with a tracing id; one that has one already stays as it is. */
export function withTracingId(envelope: Envelope, id: Buffer): Buffer {
  const { bytes, start, end } = envelope
  const flags = headerFlags(bytes, start)
  if ((flags & Flag.TRACING) !== 0) return bytes.subarray(start, end)
  const at = start + envelopeHeaderBytes
  const answer = splice(envelope, { from: at, to: at, inserted: id })
  answer[flagsAt] = flags | Flag.TRACING
  return answer
}
