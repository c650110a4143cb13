/** Parts of answers that Ringfence passes on unread: for tests. */
import { envelopeHeaderBytes, Flag, headerFlags } from './protocol.ts'
import { BodyReader } from './reader.ts'
import { bodyStart } from './responses.ts'

const reader = new BodyReader()

/** The warnings of a response; empty where it has none. */
export function readWarnings(buf: Buffer, start: number, end: number): string[] {
  const flags = headerFlags(buf, start)
  if ((flags & Flag.WARNING) === 0) return []
  reader.reset(buf, start + envelopeHeaderBytes, end)
  if ((flags & Flag.TRACING) !== 0) reader.skip(16)
  return reader.stringList()
}

/** The tracing id of a response, if it has one. */
export function readTracingId(buf: Buffer, start: number, end: number): string | undefined {
  if ((headerFlags(buf, start) & Flag.TRACING) === 0) return undefined
  return reader.reset(buf, start + envelopeHeaderBytes, end).uuid()
}

export function readSupported(buf: Buffer, start: number, end: number): Map<string, string[]> {
  return reader.reset(buf, bodyStart(buf, start, end), end).stringMultimap()
}

/** The token of AUTH_CHALLENGE or AUTH_SUCCESS, copied. */
export function readAuthToken(buf: Buffer, start: number, end: number): Buffer | null {
  const token = reader.reset(buf, bodyStart(buf, start, end), end).bytes()
  return token && Buffer.from(token)
}
