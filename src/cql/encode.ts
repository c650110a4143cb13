/**
 * Messages of our own as whole envelopes, header included, not compressed and not in segments (native_protocol_v5.spec §4). They are the
 * answers that the mesh gives itself, and the requests that it makes as a client of the node. `stream` is the request's own; −1 for an
 * event.
 */
import { assert } from '../base/errors.ts'
import {
  Consistency,
  CqlErrorCode,
  gracefulDisconnect,
  MetadataFlag,
  Opcode,
  type ProtocolVersion,
  QueryFlag,
  ResultKind,
  responseBit,
} from './protocol.ts'
import type { CqlEvent, SchemaChange } from './responses.ts'
import { inetBytes } from './text-bytes.ts'
import { writeType } from './type-options.ts'
import type { CqlType } from './types.ts'
import { BodyWriter } from './writer.ts'

export interface ColumnSpec {
  readonly name: string
  readonly type: CqlType
}

export interface RowsSpec {
  readonly keyspace: string
  readonly table: string
  readonly columns: readonly ColumnSpec[]
  readonly pagingState?: Uint8Array
}

export interface PreparedSpec {
  readonly id: Uint8Array
  /** v5 only; needed there. */
  readonly resultMetadataId?: Uint8Array | undefined
  readonly bind: {
    readonly keyspace: string
    readonly table: string
    readonly columns: readonly ColumnSpec[]
    readonly pkIndexes: readonly number[]
  }
  /** Undefined for what returns no rows. */
  readonly result: RowsSpec | undefined
}

export interface QueryOptions {
  /** LOCAL_ONE where it is left out. */
  readonly consistency?: number
  readonly pageSize?: number
  readonly pagingState?: Uint8Array
  readonly serialConsistency?: number
  readonly timestamp?: bigint
  /** v5 only. */
  readonly keyspace?: string
  /** v5 only. */
  readonly nowInSeconds?: number
  readonly values?: readonly (Uint8Array | null)[]
  /** Names of `values`, one each. */
  readonly names?: readonly string[]
  readonly skipMetadata?: boolean
}

// --- answers

function answer(version: ProtocolVersion, stream: number, opcode: number, body: BodyWriter): Buffer {
  return body.envelope(version | responseBit, stream, opcode)
}

/** `extra` is what §9 puts behind the message of that code. A message that is too long for a [string] is cut. */
export function errorEnvelope(
  version: ProtocolVersion,
  stream: number,
  code: number,
  message: string,
  extra?: Uint8Array,
): Buffer {
  const body = new BodyWriter().int(code).cutString(message)
  if (extra !== undefined) body.raw(extra)
  return answer(version, stream, Opcode.ERROR, body)
}

/** Makes every driver prepare again; `id` is the one that the client sent. */
export function unpreparedEnvelope(version: ProtocolVersion, stream: number, id: Uint8Array, message: string): Buffer {
  return errorEnvelope(version, stream, CqlErrorCode.UNPREPARED, message, new BodyWriter().shortBytes(id).take())
}

export function readyEnvelope(version: ProtocolVersion, stream: number): Buffer {
  return answer(version, stream, Opcode.READY, new BodyWriter())
}

export function supportedEnvelope(
  version: ProtocolVersion,
  stream: number,
  options: ReadonlyMap<string, readonly string[]>,
): Buffer {
  return answer(version, stream, Opcode.SUPPORTED, new BodyWriter().stringMultimap(options))
}

export function authenticateEnvelope(version: ProtocolVersion, stream: number, className: string): Buffer {
  return answer(version, stream, Opcode.AUTHENTICATE, new BodyWriter().string(className))
}

export function authChallengeEnvelope(version: ProtocolVersion, stream: number, token: Uint8Array | null): Buffer {
  return answer(version, stream, Opcode.AUTH_CHALLENGE, new BodyWriter().bytes(token))
}

export function authSuccessEnvelope(version: ProtocolVersion, stream: number, token: Uint8Array | null = null): Buffer {
  return answer(version, stream, Opcode.AUTH_SUCCESS, new BodyWriter().bytes(token))
}

export function voidEnvelope(version: ProtocolVersion, stream: number): Buffer {
  return answer(version, stream, Opcode.RESULT, new BodyWriter().int(ResultKind.VOID))
}

export function setKeyspaceEnvelope(version: ProtocolVersion, stream: number, keyspace: string): Buffer {
  return answer(version, stream, Opcode.RESULT, new BodyWriter().int(ResultKind.SET_KEYSPACE).string(keyspace))
}

export function rowsEnvelope(
  version: ProtocolVersion,
  stream: number,
  spec: RowsSpec,
  rows: readonly (readonly (Uint8Array | null)[])[],
): Buffer {
  const body = new BodyWriter().int(ResultKind.ROWS)
  writeResultMetadata(body, spec)
  body.int(rows.length)
  for (const row of rows) for (const value of row) body.bytes(value)
  return answer(version, stream, Opcode.RESULT, body)
}

export function preparedEnvelope(version: ProtocolVersion, stream: number, spec: PreparedSpec): Buffer {
  const body = new BodyWriter().int(ResultKind.PREPARED).shortBytes(spec.id)
  if (version >= 5) body.shortBytes(spec.resultMetadataId ?? new Uint8Array(0))
  const { bind } = spec
  const global = bind.columns.length > 0
  body.int(global ? MetadataFlag.GLOBAL_TABLE_SPEC : 0).int(bind.columns.length)
  if (version >= 4) {
    body.int(bind.pkIndexes.length)
    for (const index of bind.pkIndexes) body.short(index)
  }
  if (global) writeColumns(body, bind)
  if (spec.result === undefined) body.int(MetadataFlag.NO_METADATA).int(0)
  else writeResultMetadata(body, spec.result)
  return answer(version, stream, Opcode.RESULT, body)
}

export function schemaChangeEnvelope(version: ProtocolVersion, stream: number, change: SchemaChange): Buffer {
  const body = new BodyWriter().int(ResultKind.SCHEMA_CHANGE)
  writeSchemaChange(body, change)
  return answer(version, stream, Opcode.RESULT, body)
}

export function eventEnvelope(version: ProtocolVersion, event: CqlEvent): Buffer {
  const body = new BodyWriter().string(event.type)
  if (event.type === 'SCHEMA_CHANGE') {
    writeSchemaChange(body, event)
  } else {
    const address = inetBytes(event.address)
    body.string(event.change).byte(address.length).raw(address).int(event.port)
  }
  return answer(version, -1, Opcode.EVENT, body)
}

/** The event that has no other field than its type. */
export function gracefulDisconnectEnvelope(version: ProtocolVersion): Buffer {
  return answer(version, -1, Opcode.EVENT, new BodyWriter().string(gracefulDisconnect))
}

// --- requests

export function startupEnvelope(
  version: ProtocolVersion,
  stream: number,
  options: ReadonlyMap<string, string>,
): Buffer {
  return new BodyWriter().stringMap(options).envelope(version, stream, Opcode.STARTUP)
}

export function authResponseEnvelope(version: ProtocolVersion, stream: number, token: Uint8Array | null): Buffer {
  return new BodyWriter().bytes(token).envelope(version, stream, Opcode.AUTH_RESPONSE)
}

export function registerEnvelope(version: ProtocolVersion, stream: number, events: readonly string[]): Buffer {
  return new BodyWriter().stringList(events).envelope(version, stream, Opcode.REGISTER)
}

export function queryEnvelope(
  version: ProtocolVersion,
  stream: number,
  text: string,
  options: QueryOptions = {},
): Buffer {
  const body = new BodyWriter().longString(text)
  writeParams(body, version, options)
  return body.envelope(version, stream, Opcode.QUERY)
}

/** `keyspace`: v5 only. */
export function prepareEnvelope(version: ProtocolVersion, stream: number, text: string, keyspace?: string): Buffer {
  const body = new BodyWriter().longString(text)
  if (version >= 5) {
    body.int(keyspace === undefined ? 0 : 1)
    if (keyspace !== undefined) body.string(keyspace)
  }
  return body.envelope(version, stream, Opcode.PREPARE)
}

// --- parts

function writeResultMetadata(body: BodyWriter, spec: RowsSpec): void {
  const more = spec.pagingState !== undefined ? MetadataFlag.HAS_MORE_PAGES : 0
  body.int(MetadataFlag.GLOBAL_TABLE_SPEC | more).int(spec.columns.length)
  if (spec.pagingState !== undefined) body.bytes(spec.pagingState)
  writeColumns(body, spec)
}

function writeColumns(body: BodyWriter, spec: Pick<RowsSpec, 'keyspace' | 'table' | 'columns'>): void {
  body.string(spec.keyspace).string(spec.table)
  for (const column of spec.columns) {
    body.string(column.name)
    writeType(body, column.type)
  }
}

function writeSchemaChange(body: BodyWriter, change: SchemaChange): void {
  body.string(change.change).string(change.target).string(change.keyspace)
  if (change.target !== 'KEYSPACE') body.string(change.name)
  if (change.target === 'FUNCTION' || change.target === 'AGGREGATE') body.stringList(change.argTypes)
}

export function writeParams(body: BodyWriter, version: ProtocolVersion, options: QueryOptions): void {
  const { values, names, pageSize, pagingState } = options
  let flags = tailFlags(options)
  if (values !== undefined && values.length > 0) flags |= QueryFlag.VALUES | (names !== undefined ? QueryFlag.NAMES : 0)
  if (options.skipMetadata) flags |= QueryFlag.SKIP_METADATA
  if (pageSize !== undefined) flags |= QueryFlag.PAGE_SIZE
  if (pagingState !== undefined) flags |= QueryFlag.PAGING_STATE
  body.short(options.consistency ?? Consistency.LOCAL_ONE)
  writeFlags(body, version, flags)
  if (values !== undefined && values.length > 0) {
    body.short(values.length)
    values.forEach((value, i) => {
      if (names !== undefined) body.string(names[i] ?? '')
      body.bytes(value)
    })
  }
  if (pageSize !== undefined) body.int(pageSize)
  if (pagingState !== undefined) body.bytes(pagingState)
  writeTail(body, options)
}

export function tailFlags(options: QueryOptions): number {
  return (
    (options.serialConsistency !== undefined ? QueryFlag.SERIAL_CONSISTENCY : 0) |
    (options.timestamp !== undefined ? QueryFlag.TIMESTAMP : 0) |
    (options.keyspace !== undefined ? QueryFlag.KEYSPACE : 0) |
    (options.nowInSeconds !== undefined ? QueryFlag.NOW_IN_SECONDS : 0)
  )
}

export function writeFlags(body: BodyWriter, version: ProtocolVersion, flags: number): void {
  assert(version >= 5 || flags <= 0x7f, 'keyspace and now_in_seconds need v5')
  if (version >= 5) body.int(flags)
  else body.byte(flags)
}

export function writeTail(body: BodyWriter, options: QueryOptions): void {
  if (options.serialConsistency !== undefined) body.short(options.serialConsistency)
  if (options.timestamp !== undefined) body.long(options.timestamp)
  if (options.keyspace !== undefined) body.string(options.keyspace)
  if (options.nowInSeconds !== undefined) body.int(options.nowInSeconds)
}
