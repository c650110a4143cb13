/** A warning of the mesh's own among those of the node, where drivers show it to people (native_protocol_v5.spec §2.2, flag 0x08). */
import { copyOf, type Envelope, wholeEnvelope } from '../envelope.ts'
import { envelopeHeaderBytes, Flag, headerFlags, type ProtocolVersion } from '../protocol.ts'
import { BodyReader } from '../reader.ts'
import { BodyWriter } from '../writer.ts'
import { type Replacement, splice, splicedInWindows } from './splice.ts'
import { tracingIdBytes } from './tracing.ts'

const warningsMax = 65_535
const flagsAt = 1

const reader = new BodyReader()

/**
 * The same response with `text` as its last warning, cut where it is longer than a [string]. v3 has no warnings: there it stays as
 * it was, and so does a response that has 65,535 already.
 */
export function withWarning(envelope: Envelope, version: ProtocolVersion, text: string): Buffer {
  const warning = warningReplacement(envelope, version, text)
  if (warning === undefined) return copyOf(envelope)
  const answer = splice(envelope, warning)
  answer[flagsAt] = headerFlags(envelope.bytes, envelope.start) | Flag.WARNING
  return answer
}

/** The same window by window, of all of `buf`; nobody writes to it meanwhile. */
export function* withWarningInWindows(
  buf: Buffer,
  version: ProtocolVersion,
  text: string,
): Generator<undefined, Buffer> {
  const warning = warningReplacement(wholeEnvelope(buf), version, text)
  if (warning === undefined) return buf
  const answer = yield* splicedInWindows(buf, warning)
  answer[flagsAt] = headerFlags(buf, 0) | Flag.WARNING
  return answer
}

/** With the flag, which says that there is a list. Undefined where nothing can be added. */
function warningReplacement(
  { bytes, start, end }: Envelope,
  version: ProtocolVersion,
  text: string,
): Replacement | undefined {
  if (version < 4) return undefined
  const flags = headerFlags(bytes, start)
  reader.reset(bytes, start + envelopeHeaderBytes, end)
  if ((flags & Flag.TRACING) !== 0) reader.skip(tracingIdBytes)
  const listAt = reader.at
  if ((flags & Flag.WARNING) === 0) {
    return { from: listAt, to: listAt, inserted: new BodyWriter().short(1).cutString(text).take() }
  }
  const count = reader.short()
  for (let i = 0; i < count; i++) reader.skipString()
  if (count >= warningsMax) return undefined
  const list = new BodyWriter()
    .short(count + 1)
    .raw(bytes.subarray(listAt + 2, reader.at))
    .cutString(text)
    .take()
  return { from: listAt, to: reader.at, inserted: list }
}
