/**
 * Answers for the tests of this folder: values are written, and answers read, by the DataStax driver's own codec, so that what we
 * make of them is judged by another's reading.
 */
import { createRequire } from 'node:module'
import { types as driverTypes } from 'cassandra-driver'
import { Flag, MetadataFlag, Opcode, type ProtocolVersion, ResultKind, responseBit } from '../protocol.ts'
import { writeType } from '../type-options.ts'
import { type CqlType, listOf, mapOf, native, setOf } from '../types.ts'
import { BodyWriter } from '../writer.ts'

const require = createRequire(import.meta.url)

interface DriverEncoder {
  encode(value: unknown, type: unknown): Buffer | null
  decode(bytes: Buffer | null, type: unknown): unknown
}
interface DriverReader {
  readInt(): number
  readBytes(): Buffer | null
  readMetadata(kind: number): { columns: { name: string; type: unknown }[]; pageState?: Buffer; newResultId?: Buffer }
  readType(): unknown
  readFlagsInfo(): { warnings?: string[]; traceId?: unknown; customPayload?: Record<string, Buffer> }
  offset: number
}
const Encoder = require('cassandra-driver/lib/encoder') as new (version: number, options: object) => DriverEncoder
const { FrameReader } = require('cassandra-driver/lib/readers') as {
  FrameReader: new (
    header: { version: number; flags: number; opcode: number },
    body: Buffer,
    offset?: number,
  ) => DriverReader
}

export const versions: readonly ProtocolVersion[] = [3, 4, 5]

/** Made by the driver; a v5 driver has no other values than a v4 one. */
export function driverEncode(version: number, type: CqlType, value: unknown): Buffer | null {
  if (value === null) return null
  const option = new BodyWriter()
  writeType(option, type)
  const info = new FrameReader({ version, flags: 0, opcode: Opcode.RESULT }, option.take()).readType()
  const bytes = new Encoder(version, {}).encode(value, info)
  return bytes && Buffer.from(bytes)
}

export interface Sample {
  readonly type: CqlType
  readonly value: unknown
}

const { Duration, Integer, BigDecimal, InetAddress, LocalDate, LocalTime, Long, TimeUuid, Tuple, Uuid, Vector } =
  driverTypes as typeof driverTypes & {
    Vector: { new (elements: unknown[], subtype?: string): unknown }
  }

const address = {
  kind: 'udt',
  keyspace: 'ks',
  name: 'address',
  fields: [
    { name: 'street', type: native('text') },
    { name: 'number', type: native('int') },
  ],
} as const
const pair = { kind: 'tuple', elements: [native('text'), native('bigint')] } as const

/** One value of every type, with what only appears inside others. */
export const samples: readonly Sample[] = [
  { type: native('text'), value: 'Zoë 🙂 Müller' },
  { type: native('ascii'), value: 'plain' },
  { type: native('blob'), value: Buffer.from('0102030405060708', 'hex') },
  { type: native('boolean'), value: true },
  { type: native('tinyint'), value: -7 },
  { type: native('smallint'), value: -700 },
  { type: native('int'), value: 70_000 },
  { type: native('bigint'), value: Long.fromString('-9007199254740993') },
  { type: native('counter'), value: Long.fromNumber(12) },
  { type: native('varint'), value: Integer.fromString('-123456789012345678901234567890') },
  { type: native('decimal'), value: BigDecimal.fromString('-12.345') },
  { type: native('float'), value: 1.5 },
  { type: native('double'), value: -2.25 },
  { type: native('timestamp'), value: new Date(1_700_000_000_000) },
  { type: native('date'), value: LocalDate.fromString('2024-02-29') },
  { type: native('time'), value: LocalTime.fromString('12:34:56.789') },
  { type: native('duration'), value: Duration.fromString('1y2mo3d4h') },
  { type: native('inet'), value: InetAddress.fromString('2001:db8::1') },
  { type: native('uuid'), value: Uuid.fromString('f81d4fae-7dec-41d0-a765-00a0c91e6bf6') },
  { type: native('timeuuid'), value: TimeUuid.fromString('f81d4fae-7dec-11d0-a765-00a0c91e6bf6') },
  { type: listOf(native('text')), value: ['one', 'two', 'two'] },
  { type: setOf(native('int')), value: [1, 2, 3] },
  { type: mapOf(native('text'), native('blob')), value: { a: Buffer.from('aaaa'), b: Buffer.from('bbbb') } },
  { type: listOf(listOf(native('text'))), value: [['one'], ['two', 'three']] },
  { type: pair, value: new Tuple('left', Long.fromNumber(3)) },
  { type: address, value: { street: 'Long Lane', number: 8 } },
  { type: listOf(address), value: [{ street: 'Long Lane', number: 8 }] },
  { type: { kind: 'vector', element: native('float'), dimension: 3 }, value: new Vector([1, 2, 3], 'float') },
  { type: { kind: 'vector', element: native('int'), dimension: 2 }, value: new Vector([7, 8], 'int') },
  { type: { kind: 'vector', element: native('text'), dimension: 2 }, value: new Vector(['abcd', 'efgh'], 'text') },
]

export interface RowsShape {
  readonly columns: readonly { readonly name: string; readonly type: CqlType; readonly table?: string }[]
  readonly rows: readonly (readonly (Buffer | null)[])[]
  readonly pagingState?: Buffer
  readonly newMetadataId?: Buffer
  readonly noMetadata?: boolean
  readonly perColumnSpec?: boolean
  readonly tracing?: boolean
  readonly warnings?: readonly string[]
  readonly payload?: boolean
  /** Bytes behind the last row. */
  readonly trailing?: Buffer
  readonly extraFlags?: number
}

/** A RESULT of kind Rows as a node may write it, with all that may stand in it. */
export function rowsAnswer(version: ProtocolVersion, shape: RowsShape): Buffer {
  const { columns, rows, pagingState, newMetadataId } = shape
  const body = new BodyWriter()
  let header = 0
  if (shape.tracing) {
    header |= Flag.TRACING
    body.raw(Buffer.alloc(16, 0x77))
  }
  if (shape.warnings) {
    header |= Flag.WARNING
    body.stringList(shape.warnings)
  }
  if (shape.payload) {
    header |= Flag.CUSTOM_PAYLOAD
    body.short(1).string('k').bytes(Buffer.from('v'))
  }
  let flags = shape.extraFlags ?? 0
  if (pagingState) flags |= MetadataFlag.HAS_MORE_PAGES
  if (newMetadataId) flags |= MetadataFlag.METADATA_CHANGED
  if (shape.noMetadata) flags |= MetadataFlag.NO_METADATA
  else if (!shape.perColumnSpec) flags |= MetadataFlag.GLOBAL_TABLE_SPEC
  body.int(ResultKind.ROWS).int(flags).int(columns.length)
  if (pagingState) body.bytes(pagingState)
  if (newMetadataId) body.shortBytes(newMetadataId)
  if (!shape.noMetadata) {
    if (!shape.perColumnSpec) body.string('ks').string('t')
    for (const { name, type, table } of columns) {
      if (shape.perColumnSpec) body.string('ks').string(table ?? 't')
      body.string(name)
      writeType(body, type)
    }
  }
  body.int(rows.length)
  for (const row of rows) for (const value of row) body.bytes(value)
  if (shape.trailing) body.raw(shape.trailing)
  return body.envelope(version | responseBit, 5, Opcode.RESULT, header)
}

export interface DriverRows {
  readonly names: string[]
  readonly rows: unknown[][]
  readonly raw: (Buffer | null)[][]
  readonly pageState: Buffer | undefined
  readonly newResultId: Buffer | undefined
  readonly warnings: string[] | undefined
}

/** What the driver makes of a whole answer; throws where it can make nothing of it or bytes are left. */
export function driverRead(version: ProtocolVersion, envelope: Buffer): DriverRows {
  const bodyBytes = envelope.readInt32BE(5)
  if (bodyBytes !== envelope.length - 9) throw new Error('the length of the header does not fit')
  const reader = new FrameReader({ version, flags: envelope[1]!, opcode: envelope[4]! }, envelope.subarray(9))
  const { warnings } = reader.readFlagsInfo()
  const kind = reader.readInt()
  if (kind !== ResultKind.ROWS) throw new Error('not rows')
  const { columns, pageState, newResultId } = reader.readMetadata(kind)
  const count = reader.readInt()
  const encoder = new Encoder(version, {})
  const raw = Array.from({ length: count }, () => columns.map(() => reader.readBytes()))
  if (reader.offset !== bodyBytes) throw new Error('bytes are left')
  const rows = raw.map((row) =>
    row.map((bytes, i) => (bytes === null ? null : encoder.decode(bytes, columns[i]!.type))),
  )
  return { names: columns.map(({ name }) => name), rows, raw, pageState, newResultId, warnings }
}
