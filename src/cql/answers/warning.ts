/** A warning of the mesh's own among those of the node, where drivers show it to people (native_protocol_v5.spec §2.2, flag 0x08). */
import { envelopeHeaderBytes, Flag, headerFlags, type ProtocolVersion } from '../protocol.ts'
import { BodyReader } from '../reader.ts'
import { BodyWriter } from '../writer.ts'
import { splice } from './splice.ts'
import { tracingIdBytes } from './tracing.ts'

const warningsMax = 65_535
const flagsAt = 1

const reader = new BodyReader()

/**
 * The same response with `text` as its last warning, cut where it is longer than a [string]. v3 has no warnings: there it stays as
 * it was, and so does a response that has 65,535 already.
 */
export function withWarning(buf: Buffer, start: number, end: number, version: ProtocolVersion, text: string): Buffer {
  if (version < 4) return Buffer.from(buf.subarray(start, end))
  const flags = headerFlags(buf, start)
  reader.reset(buf, start + envelopeHeaderBytes, end)
  if ((flags & Flag.TRACING) !== 0) reader.skip(tracingIdBytes)
  const listAt = reader.at
  if ((flags & Flag.WARNING) === 0) {
    const list = new BodyWriter().short(1).cutString(text).take()
    const answer = splice(buf, start, end, listAt, listAt, list)
    answer[flagsAt] = flags | Flag.WARNING
    return answer
  }
  const count = reader.short()
  for (let i = 0; i < count; i++) reader.skipString()
  if (count >= warningsMax) return Buffer.from(buf.subarray(start, end))
  const answer = splice(buf, start, end, reader.at, reader.at, new BodyWriter().cutString(text).take())
  answer.writeUInt16BE(count + 1, listAt - start)
  return answer
}
