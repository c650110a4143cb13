/** One envelope as it stands on a connection: bare until STARTUP is answered, in v5 in a segment from then on. */
import type { ProtocolVersion } from '../../cql/protocol.ts'
import { compressedSegment, sealSegment, segmentHeaderBytes, segmentTrailerBytes } from '../../cql/segment.ts'

/** What STARTUP settles. */
export interface Framing {
  readonly version: ProtocolVersion
  readonly lz4: boolean
}

/** An envelope of at most one segment, behind the answer to STARTUP. In v3 and v4 none has to be compressed. */
export function framed(envelope: Buffer, { version, lz4 }: Framing): Buffer {
  if (version < 5) return envelope
  if (lz4) return compressedSegment(envelope, true)
  const segment = Buffer.allocUnsafe(segmentHeaderBytes + envelope.length + segmentTrailerBytes)
  envelope.copy(segment, segmentHeaderBytes)
  sealSegment(segment, 0, envelope.length, true)
  return segment
}
