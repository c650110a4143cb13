/** The tracing id of a response, which stands before all else in its body (native_protocol_v5.spec §2.2, flag 0x02). */
import { envelopeHeaderBytes, Flag, headerFlags } from '../protocol.ts'
import { splice } from './splice.ts'

export const tracingIdBytes = 16
const flagsAt = 1

/** A copy; undefined where the response has none. */
export function tracingIdOf(buf: Buffer, start: number, end: number): Buffer | undefined {
  const at = start + envelopeHeaderBytes
  if ((headerFlags(buf, start) & Flag.TRACING) === 0 || at + tracingIdBytes > end) return undefined
  return Buffer.from(buf.subarray(at, at + tracingIdBytes))
}

/** The same response with a tracing id; one that has one already stays as it is. */
export function withTracingId(buf: Buffer, start: number, end: number, id: Buffer): Buffer {
  const flags = headerFlags(buf, start)
  if ((flags & Flag.TRACING) !== 0) return buf.subarray(start, end)
  const at = start + envelopeHeaderBytes
  const answer = splice(buf, start, end, at, at, id)
  answer[flagsAt] = flags | Flag.TRACING
  return answer
}
