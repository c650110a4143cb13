/**
 * What a node answers (native_protocol_v5.spec §4.2, §9; `transport/messages/ErrorMessage.java`, `cql3/ResultSet.java`). In every
 * decoder the envelope is whole, header included; PROTOCOL where it is malformed. Bytes behind the known end of a response are allowed by
 * the specification and ignored. Buffers in answers are copies; counts are checked against the bytes that are there before anything is made
 * of them.
 */
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Envelope } from './envelope.ts'
import {
  CqlErrorCode,
  envelopeHeaderBytes,
  Flag,
  headerFlags,
  headerVersion,
  MetadataFlag,
  ResultKind,
} from './protocol.ts'
import { BodyReader } from './reader.ts'
import { readType, skipType } from './type-options.ts'
import type { CqlType } from './types.ts'

const reader = new BodyReader()

export interface Column {
  readonly keyspace: string
  readonly table: string
  readonly name: string
  readonly type: CqlType
}

export interface CqlError {
  readonly code: number
  readonly message: string
  readonly consistency?: number
  /** UNAVAILABLE. */
  readonly required?: number
  readonly alive?: number
  /** Timeouts, failures and CAS_WRITE_UNKNOWN. */
  readonly received?: number
  readonly blockFor?: number
  readonly writeType?: string
  /** v5 WRITE_TIMEOUT of a conditional write. */
  readonly contentions?: number
  readonly dataPresent?: boolean
  /** READ_FAILURE and WRITE_FAILURE: how many replicas failed; v5 also says which and why. */
  readonly failures?: number
  readonly reasons?: readonly { readonly address: string; readonly code: number }[]
  /** ALREADY_EXISTS (table is '' for a keyspace) and FUNCTION_FAILURE. */
  readonly keyspace?: string
  readonly table?: string
  readonly function?: string
  readonly argTypes?: readonly string[]
  /** UNPREPARED. */
  readonly preparedId?: Buffer
}

export interface ResultMetadata {
  readonly columnCount: number
  /** Empty where the metadata was left out. */
  readonly columns: readonly Column[]
  readonly pagingState: Buffer | null
  /** v5: the id that replaces the one of PREPARED. */
  readonly newMetadataId: Buffer | undefined
}

export interface Prepared {
  readonly id: Buffer
  /** v5 only. */
  readonly resultMetadataId: Buffer | undefined
  readonly bind: {
    /** Of the first marker; '' where there are none. */
    readonly keyspace: string
    readonly table: string
    readonly columns: readonly Column[]
    /** Marker of each partition key column, in key order; empty where unknown, and always in v3. */
    readonly pkIndexes: readonly number[]
  }
  readonly result: ResultMetadata
}

export interface Rows extends ResultMetadata {
  readonly rows: readonly (readonly (Buffer | null)[])[]
}

export interface SchemaChange {
  readonly change: string
  readonly target: string
  readonly keyspace: string
  /** Table, type, function or aggregate; '' for a keyspace. */
  readonly name: string
  /** Of a function or aggregate. */
  readonly argTypes: readonly string[]
}

export type CqlEvent =
  | {
      readonly type: 'TOPOLOGY_CHANGE' | 'STATUS_CHANGE'
      readonly change: string
      readonly address: string
      readonly port: number
    }
  | ({ readonly type: 'SCHEMA_CHANGE' } & SchemaChange)

/** Where the message starts: behind tracing id, warnings and custom payload, which stand in this order. Whoever leaves one out reads other bytes as the message. */
export function bodyStart(envelope: Envelope): number {
  return open(envelope).at
}

/** The code of an ERROR, without its message. */
export function errorCode(envelope: Envelope): number {
  return open(envelope).int()
}

export function readError(envelope: Envelope): CqlError {
  const version = headerVersion(envelope.bytes, envelope.start)
  open(envelope)
  const code = reader.int()
  const message = reader.string()
  switch (code) {
    case CqlErrorCode.UNAVAILABLE: {
      const consistency = reader.consistency()
      const required = reader.int()
      return { code, message, consistency, required, alive: reader.int() }
    }
    case CqlErrorCode.WRITE_TIMEOUT: {
      const counts = readCounts()
      const writeType = reader.string()
      // The Java driver's own codec knows no contentions, so a node may well not send them.
      if (version < 5 || writeType !== 'CAS' || reader.remaining < 2) return { code, message, ...counts, writeType }
      return { code, message, ...counts, writeType, contentions: reader.short() }
    }
    case CqlErrorCode.READ_TIMEOUT:
      return { code, message, ...readCounts(), dataPresent: reader.byte() !== 0 }
    case CqlErrorCode.READ_FAILURE:
      return { code, message, ...readCounts(), ...readFailures(version), dataPresent: reader.byte() !== 0 }
    case CqlErrorCode.WRITE_FAILURE:
      return { code, message, ...readCounts(), ...readFailures(version), writeType: reader.string() }
    case CqlErrorCode.CAS_WRITE_UNKNOWN:
      return { code, message, ...readCounts() }
    case CqlErrorCode.FUNCTION_FAILURE: {
      const keyspace = reader.string()
      const name = reader.string()
      return { code, message, keyspace, function: name, argTypes: reader.stringList() }
    }
    case CqlErrorCode.ALREADY_EXISTS: {
      const keyspace = reader.string()
      return { code, message, keyspace, table: reader.string() }
    }
    case CqlErrorCode.UNPREPARED:
      return { code, message, preparedId: Buffer.from(reader.shortBytes()) }
    default:
      return { code, message }
  }
}

/** One of `ResultKind`, or a number that a newer node knows. */
export function resultKind(envelope: Envelope): number {
  return open(envelope).int()
}

/** Rows of a RESULT, without making an object; −1 where it is not of kind Rows, and where they stand behind too much else. */
export function rowsCount(envelope: Envelope, version: number): number {
  open(envelope)
  if (reader.int() !== ResultKind.ROWS) return -1
  return skipResultMetadata(version) ? reader.count() : -1
}

/** True when a RESULT of kind Rows carries a paging state. */
export function hasMorePages(envelope: Envelope): boolean {
  open(envelope)
  if (reader.int() !== ResultKind.ROWS) return false
  return (reader.int() & MetadataFlag.HAS_MORE_PAGES) !== 0
}

export function readRows(envelope: Envelope, version: number): Rows {
  openKind(envelope, ResultKind.ROWS)
  const metadata = readResultMetadata(version)
  const rowCount = reader.count()
  // Every value has four bytes at least, so what is claimed cannot be more than what has come.
  if (rowCount > 0 && (metadata.columnCount === 0 || rowCount * metadata.columnCount * 4 > reader.remaining)) {
    throw new RingfenceError('PROTOCOL', 'more rows are announced than there are bytes')
  }
  const rows: (Buffer | null)[][] = []
  for (let r = 0; r < rowCount; r++) {
    const row: (Buffer | null)[] = []
    for (let c = 0; c < metadata.columnCount; c++) {
      const value = reader.bytes()
      row.push(value && Buffer.from(value))
    }
    rows.push(row)
  }
  return { ...metadata, rows }
}

export function readPrepared(envelope: Envelope, version: number): Prepared {
  openKind(envelope, ResultKind.PREPARED)
  const id = Buffer.from(reader.shortBytes())
  const resultMetadataId = version >= 5 ? Buffer.from(reader.shortBytes()) : undefined
  const flags = reader.int()
  const columnCount = reader.count()
  const pkIndexes: number[] = []
  if (version >= 4) {
    const pkCount = reader.count()
    for (let i = 0; i < pkCount; i++) {
      const index = reader.short()
      if (index >= columnCount) throw new RingfenceError('PROTOCOL', 'partition key index without a marker')
      pkIndexes.push(index)
    }
  }
  const columns = readColumns(reader, flags, columnCount)
  const first = columns[0]
  const bind = { keyspace: first?.keyspace ?? '', table: first?.table ?? '', columns, pkIndexes }
  return { id, resultMetadataId, bind, result: readResultMetadata(version) }
}

export function readSetKeyspace(envelope: Envelope): string {
  openKind(envelope, ResultKind.SET_KEYSPACE)
  return reader.string()
}

export function readSchemaChange(envelope: Envelope): SchemaChange {
  openKind(envelope, ResultKind.SCHEMA_CHANGE)
  return schemaChange()
}

export function readEvent(envelope: Envelope): CqlEvent {
  open(envelope)
  const type = reader.string()
  switch (type) {
    case 'TOPOLOGY_CHANGE':
    case 'STATUS_CHANGE': {
      const change = reader.string()
      return { type, change, ...reader.inet() }
    }
    case 'SCHEMA_CHANGE':
      return { type, ...schemaChange() }
    default:
      throw new RingfenceError('PROTOCOL', 'unknown event type')
  }
}

/** The class name of the node's authenticator. */
export function readAuthenticate(envelope: Envelope): string {
  return open(envelope).string()
}

// --- parts

function open({ bytes, start, end }: Envelope): BodyReader {
  const flags = headerFlags(bytes, start)
  reader.reset(bytes, start + envelopeHeaderBytes, end)
  if ((flags & Flag.TRACING) !== 0) reader.skip(16)
  if ((flags & Flag.WARNING) !== 0) reader.skipStringList()
  if ((flags & Flag.CUSTOM_PAYLOAD) !== 0) reader.skipBytesMap()
  return reader
}

function openKind(envelope: Envelope, wanted: number): void {
  const kind = open(envelope).int()
  if (kind !== wanted) throw new RingfenceError('PROTOCOL', `result of kind ${kind} where ${wanted} was expected`)
}

function readCounts(): { consistency: number; received: number; blockFor: number } {
  const consistency = reader.consistency()
  const received = reader.int()
  return { consistency, received, blockFor: reader.int() }
}

/** v3 and v4 say how many, v5 names each (§9, <reasonmap>). */
function readFailures(version: number): Pick<CqlError, 'failures' | 'reasons'> {
  const failures = reader.count()
  if (version < 5) return { failures }
  const reasons: { address: string; code: number }[] = []
  for (let i = 0; i < failures; i++) {
    const address = reader.inetAddress()
    reasons.push({ address, code: reader.short() })
  }
  return { failures, reasons }
}

function readResultMetadata(version: number): ResultMetadata {
  const flags = reader.int()
  const columnCount = reader.count()
  let pagingState: Buffer | null = null
  if ((flags & MetadataFlag.HAS_MORE_PAGES) !== 0) {
    const state = reader.bytes()
    pagingState = state && Buffer.from(state)
  }
  const changed = version >= 5 && (flags & MetadataFlag.METADATA_CHANGED) !== 0
  const newMetadataId = changed ? Buffer.from(reader.shortBytes()) : undefined
  const columns = (flags & MetadataFlag.NO_METADATA) !== 0 ? [] : readColumns(reader, flags, columnCount)
  return { columnCount, columns, pagingState, newMetadataId }
}

/** The column specifications at `reader`, of Rows and Prepared (§4.2.5.2). */
export function readColumns(reader: BodyReader, flags: number, count: number): Column[] {
  const columns: Column[] = []
  if (count === 0 && (flags & MetadataFlag.GLOBAL_TABLE_SPEC) === 0) return columns
  const most = reader.at + limits.metadataBytesMax
  const global = (flags & MetadataFlag.GLOBAL_TABLE_SPEC) !== 0
  let keyspace = global ? reader.string() : ''
  let table = global ? reader.string() : ''
  for (let i = 0; i < count; i++) {
    if (!global) {
      keyspace = reader.string()
      table = reader.string()
    }
    const name = reader.string()
    columns.push({ keyspace, table, name, type: readType(reader) })
    if (reader.at > most) {
      const bytes = `metadataBytesMax (${limits.metadataBytesMax} bytes)`
      throw new RingfenceError('TOO_LARGE', `the columns of an answer are described in more than ${bytes}`)
    }
  }
  return columns
}

/** False where it is longer than `metadataBytesMax`. */
function skipResultMetadata(version: number): boolean {
  const flags = reader.int()
  const columnCount = reader.count()
  if ((flags & MetadataFlag.HAS_MORE_PAGES) !== 0) reader.skipBytes()
  if (version >= 5 && (flags & MetadataFlag.METADATA_CHANGED) !== 0) reader.skipShortBytes()
  if ((flags & MetadataFlag.NO_METADATA) !== 0) return true
  const most = reader.at + limits.metadataBytesMax
  const global = (flags & MetadataFlag.GLOBAL_TABLE_SPEC) !== 0
  if (global) {
    reader.skipString()
    reader.skipString()
  }
  for (let i = 0; i < columnCount; i++) {
    if (!global) {
      reader.skipString()
      reader.skipString()
    }
    reader.skipString()
    skipType(reader)
    if (reader.at > most) return false
  }
  return true
}

function schemaChange(): SchemaChange {
  const change = reader.string()
  const target = reader.string()
  const keyspace = reader.string()
  const name = target === 'KEYSPACE' ? '' : reader.string()
  const argTypes = target === 'FUNCTION' || target === 'AGGREGATE' ? reader.stringList() : []
  return { change, target, keyspace, name, argTypes }
}
