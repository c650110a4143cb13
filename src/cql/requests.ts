/**
 * What a client asks, decoded to the last byte: an unknown flag, an impossible length or a byte too many is PROTOCOL, a named
 * limit that is reached is TOO_LARGE (native_protocol_v5.spec §4.1; `cql3/QueryOptions.java`, `transport/messages/*.java`).
 *
 * QUERY, PREPARE, EXECUTE and BATCH fill a view (`request-views.ts`) that the caller keeps and reuses, so that a request costs no
 * object. Offsets in views are offsets into the envelope's `bytes`, and borrowed like the bytes they point at.
 */
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Envelope } from './envelope.ts'
import { envelopeHeaderBytes, Flag, headerFlags, type ProtocolVersion, QueryFlag } from './protocol.ts'
import { BodyReader } from './reader.ts'
import type { BatchPart, BatchView, ExecuteView, ParamsView, PrepareView, QueryView } from './request-views.ts'
import { none } from './request-views.ts'

export { type BatchPart, BatchView, ExecuteView, ParamsView, PrepareView, QueryView } from './request-views.ts'

const flagsV5 = 0x1ff
const flagsV4 = 0x7f
const batchForbiddenFlags =
  QueryFlag.VALUES | QueryFlag.SKIP_METADATA | QueryFlag.PAGE_SIZE | QueryFlag.PAGING_STATE | QueryFlag.NAMES
const prepareKeyspace = 0x01

const reader = new BodyReader()

export function readQuery(view: QueryView, envelope: Envelope, version: ProtocolVersion): void {
  openBody(view, envelope, version)
  readStatement(view)
  readParams(view.params, version)
  reader.assertDone()
}

export function readPrepare(view: PrepareView, envelope: Envelope, version: ProtocolVersion): void {
  openBody(view, envelope, version)
  readStatement(view)
  view.keyspace = undefined
  if (version >= 5) {
    const prepareFlags = reader.int()
    if ((prepareFlags & ~prepareKeyspace) !== 0) throw new RingfenceError('PROTOCOL', 'unknown flag in PREPARE')
    if (prepareFlags & prepareKeyspace) view.keyspace = reader.string()
  }
  reader.assertDone()
}

export function readExecute(view: ExecuteView, envelope: Envelope, version: ProtocolVersion): void {
  openBody(view, envelope, version)
  view.buffer = envelope.bytes
  const idBytes = reader.skipShortBytes()
  view.idEnd = reader.at
  view.idStart = reader.at - idBytes
  if (version >= 5) {
    const resultIdBytes = reader.skipShortBytes()
    view.resultMetadataIdEnd = reader.at
    view.resultMetadataIdStart = reader.at - resultIdBytes
  } else {
    view.resultMetadataIdStart = view.resultMetadataIdEnd = none
  }
  readParams(view.params, version)
  reader.assertDone()
}

export function readBatch(view: BatchView, envelope: Envelope, version: ProtocolVersion): void {
  openBody(view, envelope, version)
  view.buffer = envelope.bytes
  view.version = version
  const type = reader.byte()
  if (type > 2) throw new RingfenceError('PROTOCOL', `unknown batch type ${type}`)
  view.type = type as 0 | 1 | 2
  const count = reader.entries(limits.batchPartsMax)
  view.parts = []
  let textBytes = 0
  for (let i = 0; i < count; i++) {
    const part = readPart(version, limits.batchTextBytesMax - textBytes)
    if (part.text !== undefined) textBytes += part.textBytes
    view.parts.push(part)
  }
  view.consistency = reader.consistency()
  const batchFlags = version >= 5 ? reader.int() : reader.byte()
  // Names cannot be read without knowing the statements (CASSANDRA-10246); the other four make no sense in a batch.
  if ((batchFlags & (batchForbiddenFlags | ~(version >= 5 ? flagsV5 : flagsV4))) !== 0) {
    throw new RingfenceError('PROTOCOL', 'flag that BATCH does not have')
  }
  view.flags = batchFlags
  readTail(view, batchFlags)
  reader.assertDone()
}

/** How many parts a BATCH says that it has; they are not looked at. */
export function batchPartCount(view: BatchView, envelope: Envelope, version: ProtocolVersion): number {
  openBody(view, envelope, version)
  reader.byte()
  return reader.short()
}

const eventTypes: ReadonlySet<string> = new Set(['TOPOLOGY_CHANGE', 'STATUS_CHANGE', 'SCHEMA_CHANGE'])

/** The event types asked for, in order; one that does not exist is PROTOCOL. `further` exists too. */
export function readRegister(envelope: Envelope, version: ProtocolVersion, further?: string): string[] {
  openPlainBody(envelope, version)
  const types = reader.stringList(limits.mapEntriesMax)
  reader.assertDone()
  // Cassandra takes them in any case (`transport/CBUtil.readEnumValue`).
  return types.map((given) => {
    const type = given.toUpperCase()
    if (!eventTypes.has(type) && type !== further) throw new RingfenceError('PROTOCOL', 'unknown event type')
    return type
  })
}

/** The options of STARTUP, keys in upper case as Cassandra reads them (`transport/messages/StartupMessage`); one that stands twice is PROTOCOL. */
export function readStartup(envelope: Envelope, version: ProtocolVersion): Map<string, string> {
  openPlainBody(envelope, version)
  const given = reader.stringMap(limits.mapEntriesMax)
  reader.assertDone()
  const options = new Map<string, string>()
  for (const [key, value] of given) {
    const name = key.toUpperCase()
    const before = options.get(name)
    // Of two a node takes one, by the order of a hash table. Nothing depends on the version of CQL; of all else it must be clear.
    if (before !== undefined && before !== value && name !== 'CQL_VERSION') {
      throw new RingfenceError('PROTOCOL', 'an option of STARTUP stands twice, with two values')
    }
    options.set(name, value)
  }
  return options
}

/** The token, a view into the envelope, or null. */
export function readAuthResponse(envelope: Envelope, version: ProtocolVersion): Buffer | null {
  openPlainBody(envelope, version)
  const token = reader.bytes()
  reader.assertDone()
  return token
}

// --- parts

// TRACING and USE_BETA mean nothing to a decoder; whether they are passed on is the session's to say. COMPRESSION is cleared
// by Inbound. WARNING belongs to responses.
const requestFlags = Flag.COMPRESSION | Flag.TRACING | Flag.CUSTOM_PAYLOAD | Flag.USE_BETA

function checkHeaderFlags(version: ProtocolVersion, flags: number): void {
  if ((flags & ~requestFlags) !== 0) throw new RingfenceError('PROTOCOL', 'unknown flag in a request')
  if ((flags & Flag.CUSTOM_PAYLOAD) !== 0 && version < 4)
    throw new RingfenceError('PROTOCOL', 'v3 has no custom payload')
}

/** Starts the reader behind the header and, where flagged, behind the custom payload, the only thing that stands in front. */
function openBody(
  view: { payloadStart: number; payloadEnd: number },
  { bytes, start, end }: Envelope,
  version: ProtocolVersion,
): void {
  const flags = headerFlags(bytes, start)
  checkHeaderFlags(version, flags)
  reader.reset(bytes, start + envelopeHeaderBytes, end)
  view.payloadStart = view.payloadEnd = none
  if ((flags & Flag.CUSTOM_PAYLOAD) !== 0) {
    view.payloadStart = reader.at
    reader.skipBytesMap(limits.mapEntriesMax)
    view.payloadEnd = reader.at
  }
}

/** For messages that take no custom payload (§2.2). */
function openPlainBody({ bytes, start, end }: Envelope, version: ProtocolVersion): void {
  const flags = headerFlags(bytes, start)
  checkHeaderFlags(version, flags)
  if ((flags & Flag.CUSTOM_PAYLOAD) !== 0) throw new RingfenceError('PROTOCOL', 'this message takes no custom payload')
  reader.reset(bytes, start + envelopeHeaderBytes, end)
}

function readStatement(view: { text: string; textStart: number; textEnd: number }): void {
  view.textStart = reader.at + 4
  view.text = reader.longString(limits.statementBytesMax)
  view.textEnd = reader.at
}

function readParams(params: ParamsView, version: ProtocolVersion): void {
  params.buffer = reader.buf
  params.version = version
  params.paramsStart = reader.at
  params.consistency = reader.consistency()
  const flags = version >= 5 ? reader.int() : reader.byte()
  if ((flags & ~(version >= 5 ? flagsV5 : flagsV4)) !== 0) throw new RingfenceError('PROTOCOL', 'unknown query flag')
  params.flags = flags
  params.skipMetadata = (flags & QueryFlag.SKIP_METADATA) !== 0
  params.named = false
  params.valueCount = 0
  params.valuesStart = params.valuesEnd = reader.at
  if ((flags & QueryFlag.VALUES) !== 0) {
    const named = (flags & QueryFlag.NAMES) !== 0
    const count = reader.short()
    params.named = named
    params.valueCount = count
    params.valuesStart = reader.at
    for (let i = 0; i < count; i++) {
      if (named) reader.skipString()
      reader.skipValue(version)
    }
    params.valuesEnd = reader.at
  }
  params.rewind()
  params.pageSize = (flags & QueryFlag.PAGE_SIZE) !== 0 ? reader.int() : undefined
  params.pagingStateStart = params.pagingStateEnd = none
  if ((flags & QueryFlag.PAGING_STATE) !== 0) {
    const bytes = reader.skipBytes()
    if (bytes >= 0) {
      params.pagingStateEnd = reader.at
      params.pagingStateStart = reader.at - bytes
    }
  }
  readTail(params, flags)
  params.paramsEnd = reader.at
}

/** What QUERY, EXECUTE and BATCH have in common at their end. */
function readTail(
  view: {
    serialConsistency: number | undefined
    timestampStart: number
    keyspace: string | undefined
    nowInSeconds: number | undefined
  },
  flags: number,
): void {
  view.serialConsistency = (flags & QueryFlag.SERIAL_CONSISTENCY) !== 0 ? reader.consistency() : undefined
  view.timestampStart = none
  if ((flags & QueryFlag.TIMESTAMP) !== 0) {
    const at = reader.skip(8)
    view.timestampStart = at
    // Cassandra keeps the lowest value for "no timestamp" and refuses it here.
    if (isLongMin(reader.buf, at)) throw new RingfenceError('PROTOCOL', 'timestamp out of range')
  }
  view.keyspace = (flags & QueryFlag.KEYSPACE) !== 0 ? reader.string() : undefined
  view.nowInSeconds = (flags & QueryFlag.NOW_IN_SECONDS) !== 0 ? reader.int() : undefined
}

/** Whether the [long] at `at` is −2^63. */
function isLongMin(buf: Buffer, at: number): boolean {
  if (buf[at] !== 0x80) return false
  for (let i = 1; i < 8; i++) if (buf[at + i] !== 0) return false
  return true
}

function readPart(version: ProtocolVersion, textBytesMax: number): BatchPart & { textBytes: number } {
  const kind = reader.byte()
  let text: string | undefined
  let textBytes = 0
  let idStart = none
  let idEnd = none
  if (kind === 0) {
    const textAt = reader.at + 4
    text = reader.longString(Math.min(limits.statementBytesMax, textBytesMax))
    textBytes = reader.at - textAt
  } else if (kind === 1) {
    const idBytes = reader.skipShortBytes()
    idEnd = reader.at
    idStart = reader.at - idBytes
  } else {
    throw new RingfenceError('PROTOCOL', `unknown kind ${kind} of a batch part`)
  }
  const valueCount = reader.short()
  const valuesStart = reader.at
  for (let i = 0; i < valueCount; i++) reader.skipValue(version)
  return { text, textBytes, idStart, idEnd, valuesStart, valuesEnd: reader.at, valueCount }
}
