/**
 * Envelopes that an enforced session makes itself, or makes of others.
 */
import { createHash } from 'node:crypto'
import { limits } from '../base/limits.ts'
import { errorEnvelope, unpreparedEnvelope } from '../cql/encode.ts'
import type { Envelope } from '../cql/envelope.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import {
  CqlErrorCode,
  envelopeHeaderBytes,
  Flag,
  headerFlags,
  headerOpcode,
  headerStream,
  writeHeader,
} from '../cql/protocol.ts'
import { bodyStart } from '../cql/responses.ts'
import type { Judged } from './judged.ts'

/** UNPREPARED in Cassandra's own words (`cql3/QueryProcessor.java`), which people search for. */
export function unknownId(version: ProtocolVersion, stream: number, id: Buffer): Buffer {
  const why =
    'either the query was not prepared on this host (maybe the host has been restarted?) or you have prepared too many queries and it has been evicted from the internal cache'
  return unpreparedEnvelope(version, stream, id, `Prepared query with ID ${id.toString('hex')} not found (${why})`)
}

/** Of a PREPARED answer's id, markers and columns, whatever tracing or warnings stand before them. */
export function columnsDigest(envelope: Envelope): string {
  return createHash('sha256')
    .update(envelope.bytes.subarray(bodyStart(envelope), envelope.end))
    .digest('base64')
}

/** The same request without its custom payload, which is for the node's plug-ins and not for clients to set (attack B14). */
export function withoutPayload({ bytes, start, end }: Envelope, payloadStart: number, payloadEnd: number): Buffer {
  const bodyBytes = end - start - envelopeHeaderBytes - (payloadEnd - payloadStart)
  const envelope = Buffer.allocUnsafe(envelopeHeaderBytes + bodyBytes)
  const flags = headerFlags(bytes, start) & ~Flag.CUSTOM_PAYLOAD
  writeHeader(envelope, bytes[start]!, flags, headerStream(bytes, start), headerOpcode(bytes, start), bodyBytes)
  bytes.copy(envelope, envelopeHeaderBytes, payloadEnd, end)
  return envelope
}

/**
 * The node did not answer: the code that the node itself would give for such a statement, so that drivers keep their own rules on what may
 * be tried again (native_protocol_v5.spec §9). A schema change has none; whether it was made is not known.
 */
export function timeoutEnvelope(version: ProtocolVersion, stream: number, judged: Judged, consistency: number): Buffer {
  const message = `no answer from the node within ${limits.requestTimeoutMs} ms`
  const { verb, conditional } = judged.facts
  if (verb === 'SELECT') return timedOut(CqlErrorCode.READ_TIMEOUT, '\0')
  if (verb === 'TRUNCATE') return errorEnvelope(version, stream, CqlErrorCode.TRUNCATE_ERROR, message)
  if (!writes.has(verb)) return errorEnvelope(version, stream, CqlErrorCode.SERVER_ERROR, message)
  const writeType = conditional ? 'CAS' : verb === 'BATCH' ? 'BATCH' : 'SIMPLE'
  // v5 says at the end how often a conditional write was contended.
  const named = Buffer.alloc(2 + writeType.length + (version >= 5 && writeType === 'CAS' ? 2 : 0))
  named.writeUInt16BE(writeType.length, 0)
  named.write(writeType, 2)
  return timedOut(CqlErrorCode.WRITE_TIMEOUT, named)

  /** Consistency, replicas heard and wanted, then the code's own: data present, or the kind of write. */
  function timedOut(code: number, own: Buffer | string): Buffer {
    const extra = Buffer.alloc(10)
    extra.writeUInt16BE(consistency, 0)
    extra.writeInt32BE(0, 2)
    extra.writeInt32BE(1, 6)
    return errorEnvelope(version, stream, code, message, Buffer.concat([extra, Buffer.from(own)]))
  }
}

const writes: ReadonlySet<string> = new Set(['INSERT', 'UPDATE', 'DELETE', 'BATCH'])

/** An answer that could not be kept: too large by itself, or beside what waits for this client already. */
export function unfitEnvelope(version: ProtocolVersion, stream: number, answerBytes: number): Buffer {
  const tooLarge = answerBytes > limits.answerBytesMax
  const code = tooLarge ? CqlErrorCode.INVALID : CqlErrorCode.OVERLOADED
  const why = tooLarge ? `more than ${limits.answerBytesMax}` : 'more than may wait for this client now'
  return errorEnvelope(
    version,
    stream,
    code,
    `the answer has ${answerBytes} bytes, ${why}; ask for it in smaller pages`,
  )
}
