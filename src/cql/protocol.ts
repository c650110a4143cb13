/**
 * The CQL native protocol, versions 3, 4 and 5, as pure functions over bytes. Folder rule: nothing here opens a socket, reads a clock or
 * trusts a length. Every count and length that a peer sends is checked before memory is taken. A body that is not understood to its last
 * byte is refused.
 *
 * This file: the constants, and the nine header bytes of an envelope (native_protocol_v5.spec §2).
 *
 *     0         8        16        24        32         40
 *     +---------+---------+---------+---------+---------+
 *     | version |  flags  |      stream       | opcode  |
 *     +---------+---------+---------+---------+---------+
 *     |           body bytes (int32)          |
 *     +---------+---------+---------+---------+
 */

export type ProtocolVersion = 3 | 4 | 5

export const envelopeHeaderBytes = 9

/** Set in the version byte of everything a node sends. */
export const responseBit = 0x80

export const Opcode = {
  ERROR: 0x00,
  STARTUP: 0x01,
  READY: 0x02,
  AUTHENTICATE: 0x03,
  OPTIONS: 0x05,
  SUPPORTED: 0x06,
  QUERY: 0x07,
  RESULT: 0x08,
  PREPARE: 0x09,
  EXECUTE: 0x0a,
  REGISTER: 0x0b,
  EVENT: 0x0c,
  BATCH: 0x0d,
  AUTH_CHALLENGE: 0x0e,
  AUTH_RESPONSE: 0x0f,
  AUTH_SUCCESS: 0x10,
} as const

/** Header flags (§2.2). Bits above USE_BETA have no meaning in any version. */
export const Flag = { COMPRESSION: 1, TRACING: 2, CUSTOM_PAYLOAD: 4, WARNING: 8, USE_BETA: 16 } as const

/** The first [int] of a RESULT body (§4.2.5). */
/** An event that is about the connection itself (CEP-59), and what SUPPORTED calls it. */
export const gracefulDisconnect = 'GRACEFUL_DISCONNECT'

export const ResultKind = { VOID: 1, ROWS: 2, SET_KEYSPACE: 3, PREPARED: 4, SCHEMA_CHANGE: 5 } as const

/** Flags in the body of QUERY, EXECUTE and BATCH (§4.1.4); a [byte] in v3 and v4, an [int] in v5. */
export const QueryFlag = {
  VALUES: 0x01,
  SKIP_METADATA: 0x02,
  PAGE_SIZE: 0x04,
  PAGING_STATE: 0x08,
  SERIAL_CONSISTENCY: 0x10,
  TIMESTAMP: 0x20,
  NAMES: 0x40,
  KEYSPACE: 0x80,
  NOW_IN_SECONDS: 0x100,
} as const

/** Flags in the metadata of Rows and Prepared (§4.2.5.2). METADATA_CHANGED: v5 only. */
export const MetadataFlag = { GLOBAL_TABLE_SPEC: 1, HAS_MORE_PAGES: 2, NO_METADATA: 4, METADATA_CHANGED: 8 } as const

/** Error codes (§9), with the names Cassandra gives them (`org.apache.cassandra.exceptions.ExceptionCode`). */
export const CqlErrorCode = {
  SERVER_ERROR: 0x0000,
  PROTOCOL_ERROR: 0x000a,
  BAD_CREDENTIALS: 0x0100,
  UNAVAILABLE: 0x1000,
  OVERLOADED: 0x1001,
  IS_BOOTSTRAPPING: 0x1002,
  TRUNCATE_ERROR: 0x1003,
  WRITE_TIMEOUT: 0x1100,
  READ_TIMEOUT: 0x1200,
  READ_FAILURE: 0x1300,
  FUNCTION_FAILURE: 0x1400,
  WRITE_FAILURE: 0x1500,
  CDC_WRITE_FAILURE: 0x1600,
  CAS_WRITE_UNKNOWN: 0x1700,
  SYNTAX_ERROR: 0x2000,
  UNAUTHORIZED: 0x2100,
  INVALID: 0x2200,
  CONFIG_ERROR: 0x2300,
  ALREADY_EXISTS: 0x2400,
  UNPREPARED: 0x2500,
  /** ScyllaDB's own, for clients that asked for it in STARTUP. */
  RATE_LIMIT_ERROR: 0x4321,
} as const

export const Consistency = {
  ANY: 0,
  ONE: 1,
  TWO: 2,
  THREE: 3,
  QUORUM: 4,
  ALL: 5,
  LOCAL_QUORUM: 6,
  EACH_QUORUM: 7,
  SERIAL: 8,
  LOCAL_SERIAL: 9,
  LOCAL_ONE: 10,
} as const

/** By code. */
export const consistencyNames: readonly string[] = Object.keys(Consistency)

export const consistencyMax = consistencyNames.length - 1

/** The low seven bits of the version byte; any number that a peer likes, not only 3, 4 and 5. */
export function headerVersion(buf: Buffer, start: number): number {
  return buf[start]! & 0x7f
}

export function headerFlags(buf: Buffer, start: number): number {
  return buf[start + 1]!
}

/** Signed: −32,768..32,767. Requests have 0 and above; −1 is that of an EVENT. */
export function headerStream(buf: Buffer, start: number): number {
  return ((buf[start + 2]! << 24) | (buf[start + 3]! << 16)) >> 16
}

export function headerOpcode(buf: Buffer, start: number): number {
  return buf[start + 4]!
}

/** Read as a signed int32: a negative answer is a malformed header, which the caller refuses. */
export function headerBodyBytes(buf: Buffer, start: number): number {
  return (buf[start + 5]! << 24) | (buf[start + 6]! << 16) | (buf[start + 7]! << 8) | buf[start + 8]!
}

/** Writes the nine bytes of the header at the beginning of `buf`. `versionByte` of a response has responseBit. */
export function writeHeader(
  buf: Buffer,
  versionByte: number,
  flags: number,
  stream: number,
  opcode: number,
  bodyBytes: number,
): void {
  buf[0] = versionByte
  buf[1] = flags
  buf[2] = stream >> 8
  buf[3] = stream
  buf[4] = opcode
  buf[5] = bodyBytes >> 24
  buf[6] = bodyBytes >> 16
  buf[7] = bodyBytes >> 8
  buf[8] = bodyBytes
}
