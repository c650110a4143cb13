/** Parts of answers that Ringfence passes on unread: for tests. */
import type { Envelope } from './envelope.ts'
import { envelopeHeaderBytes, Flag, headerFlags } from './protocol.ts'
import { BodyReader } from './reader.ts'
import { bodyStart } from './responses.ts'

const reader = new BodyReader()

/** The warnings of a response; empty where it has none. */
export function readWarnings({ bytes, start, end }: Envelope): string[] {
  const flags = headerFlags(bytes, start)
  if ((flags & Flag.WARNING) === 0) return []
  reader.reset(bytes, start + envelopeHeaderBytes, end)
  if ((flags & Flag.TRACING) !== 0) reader.skip(16)
  return reader.stringList()
}

/** The tracing id of a response, if it has one. */
export function readTracingId({ bytes, start, end }: Envelope): string | undefined {
  if ((headerFlags(bytes, start) & Flag.TRACING) === 0) return undefined
  return reader.reset(bytes, start + envelopeHeaderBytes, end).uuid()
}

export function readSupported(envelope: Envelope): Map<string, string[]> {
  return reader.reset(envelope.bytes, bodyStart(envelope), envelope.end).stringMultimap()
}

/** The token of AUTH_CHALLENGE or AUTH_SUCCESS, copied. */
export function readAuthToken(envelope: Envelope): Buffer | null {
  const token = reader.reset(envelope.bytes, bodyStart(envelope), envelope.end).bytes()
  return token && Buffer.from(token)
}
