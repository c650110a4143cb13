/**
 * CQL types, how a type is written in metadata ([option], native_protocol_v5.spec §4.2.5.2) and how a value of it is written
 * (§6, §7). Values in JavaScript:
 *
 *     ascii, text, uuid, timeuuid, inet, custom → string (custom → Buffer)     boolean → boolean
 *     tinyint, smallint, int, float, double → number                           bigint, counter, varint, time → bigint
 *     timestamp → bigint (ms since 1970)   date → number (days since 1970)     blob → Buffer
 *     decimal → { unscaled, scale }        duration → { months, days, nanoseconds }
 *     list, set, tuple, vector → array     map → Map or array of pairs         udt → Map by field name
 *
 * Map keys and values decode to a `Map`; keys that are not primitive are compared by identity there.
 */
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { BodyReader, inetText, uuidText } from './reader.ts'
import { BodyWriter } from './writer.ts'

const nativeCodes = {
  ascii: 0x01,
  bigint: 0x02,
  blob: 0x03,
  boolean: 0x04,
  counter: 0x05,
  decimal: 0x06,
  double: 0x07,
  float: 0x08,
  int: 0x09,
  timestamp: 0x0b,
  uuid: 0x0c,
  text: 0x0d,
  varint: 0x0e,
  timeuuid: 0x0f,
  inet: 0x10,
  date: 0x11,
  time: 0x12,
  smallint: 0x13,
  tinyint: 0x14,
  duration: 0x15,
} as const

export type NativeTypeName = keyof typeof nativeCodes

const TypeCode = { CUSTOM: 0, TEXT_V2: 0x0a, LIST: 0x20, MAP: 0x21, SET: 0x22, UDT: 0x30, TUPLE: 0x31 } as const

export type CqlType =
  | { readonly kind: NativeTypeName }
  | { readonly kind: 'custom'; readonly className: string }
  | { readonly kind: 'list' | 'set'; readonly element: CqlType }
  | { readonly kind: 'map'; readonly key: CqlType; readonly value: CqlType }
  | { readonly kind: 'tuple'; readonly elements: readonly CqlType[] }
  | { readonly kind: 'udt'; readonly keyspace: string; readonly name: string; readonly fields: readonly UdtField[] }
  | { readonly kind: 'vector'; readonly element: CqlType; readonly dimension: number }

export interface UdtField {
  readonly name: string
  readonly type: CqlType
}

export interface Decimal {
  readonly unscaled: bigint
  readonly scale: number
}

export interface Duration {
  readonly months: number
  readonly days: number
  readonly nanoseconds: bigint
}

export type CqlValue =
  | null
  | string
  | number
  | bigint
  | boolean
  | Buffer
  | Decimal
  | Duration
  | readonly CqlValue[]
  | ReadonlyMap<CqlValue, CqlValue>

const nativeTypes = new Map<number, CqlType>()
for (const [kind, code] of Object.entries(nativeCodes)) nativeTypes.set(code, { kind: kind as NativeTypeName })
// v2 had two names for text; a node may still say the old one for a very old table.
nativeTypes.set(TypeCode.TEXT_V2, { kind: 'text' })

/** A native type by name; `list`, `set` and `map` beside it for what is built of others. */
export function native(kind: NativeTypeName): CqlType {
  const type = nativeTypes.get(nativeCodes[kind])
  assert(type !== undefined, 'a native type has a code')
  return type
}

export function listOf(element: CqlType): CqlType {
  return { kind: 'list', element }
}

export function setOf(element: CqlType): CqlType {
  return { kind: 'set', element }
}

export function mapOf(key: CqlType, value: CqlType): CqlType {
  return { kind: 'map', key, value }
}

/** Reads a type [option]. PROTOCOL where it is unknown or nested deeper than `nestingDepthMax`. */
export function readType(reader: BodyReader, depth = 0): CqlType {
  if (depth > limits.nestingDepthMax) throw new RingfenceError('PROTOCOL', 'type is nested too deeply')
  const code = reader.short()
  const simple = nativeTypes.get(code)
  if (simple !== undefined) return simple
  switch (code) {
    case TypeCode.CUSTOM:
      return customType(reader.string())
    case TypeCode.LIST:
      return { kind: 'list', element: readType(reader, depth + 1) }
    case TypeCode.SET:
      return { kind: 'set', element: readType(reader, depth + 1) }
    case TypeCode.MAP: {
      const key = readType(reader, depth + 1)
      return { kind: 'map', key, value: readType(reader, depth + 1) }
    }
    case TypeCode.UDT: {
      const keyspace = reader.string()
      const name = reader.string()
      const count = reader.short()
      const fields: UdtField[] = []
      for (let i = 0; i < count; i++) {
        const fieldName = reader.string()
        fields.push({ name: fieldName, type: readType(reader, depth + 1) })
      }
      return { kind: 'udt', keyspace, name, fields }
    }
    case TypeCode.TUPLE: {
      const count = reader.short()
      const elements: CqlType[] = []
      for (let i = 0; i < count; i++) elements.push(readType(reader, depth + 1))
      return { kind: 'tuple', elements }
    }
    default:
      throw new RingfenceError('PROTOCOL', `unknown type ${code}`)
  }
}

/** Moves over a type [option] without making anything of it. */
export function skipType(reader: BodyReader, depth = 0): void {
  if (depth > limits.nestingDepthMax) throw new RingfenceError('PROTOCOL', 'type is nested too deeply')
  const code = reader.short()
  if (nativeTypes.has(code)) return
  let children = 1
  switch (code) {
    case TypeCode.CUSTOM:
      reader.skipString()
      return
    case TypeCode.LIST:
    case TypeCode.SET:
      break
    case TypeCode.MAP:
      children = 2
      break
    case TypeCode.UDT:
      reader.skipString()
      reader.skipString()
      children = reader.short()
      break
    case TypeCode.TUPLE:
      children = reader.short()
      break
    default:
      throw new RingfenceError('PROTOCOL', `unknown type ${code}`)
  }
  for (let i = 0; i < children; i++) {
    if (code === TypeCode.UDT) reader.skipString()
    skipType(reader, depth + 1)
  }
}

/** Writes a type [option]. */
export function writeType(writer: BodyWriter, type: CqlType): void {
  switch (type.kind) {
    case 'custom':
      writer.short(TypeCode.CUSTOM).string(type.className)
      return
    case 'vector':
      writer.short(TypeCode.CUSTOM).string(marshalName(type))
      return
    case 'list':
    case 'set':
      writer.short(type.kind === 'list' ? TypeCode.LIST : TypeCode.SET)
      writeType(writer, type.element)
      return
    case 'map':
      writer.short(TypeCode.MAP)
      writeType(writer, type.key)
      writeType(writer, type.value)
      return
    case 'tuple':
      writer.short(TypeCode.TUPLE).short(type.elements.length)
      for (const element of type.elements) writeType(writer, element)
      return
    case 'udt':
      writer.short(TypeCode.UDT).string(type.keyspace).string(type.name).short(type.fields.length)
      for (const field of type.fields) {
        writer.string(field.name)
        writeType(writer, field.type)
      }
      return
    default:
      writer.short(nativeCodes[type.kind])
  }
}

// --- values

/** The bytes of a value, without a length in front; null for null. Fails by assertion where value and type do not fit. */
export function encodeValue(type: CqlType, value: CqlValue): Buffer | null {
  if (value === null) return null
  const writer = new BodyWriter()
  writeValue(writer, type, value)
  return writer.take()
}

function writeValue(writer: BodyWriter, type: CqlType, value: CqlValue): void {
  switch (type.kind) {
    case 'ascii':
    case 'text':
      writer.raw(Buffer.from(text(value), 'utf8'))
      return
    case 'boolean':
      writer.byte(value === true ? 1 : 0)
      return
    case 'tinyint':
      writer.byte(number(value) & 0xff)
      return
    case 'smallint':
      writer.short(number(value) & 0xffff)
      return
    case 'int':
      writer.int(number(value))
      return
    case 'date':
      // Days are unsigned around 2^31.
      writer.int((number(value) + 2 ** 31) | 0)
      return
    case 'float': {
      const bytes = Buffer.alloc(4)
      bytes.writeFloatBE(number(value))
      writer.raw(bytes)
      return
    }
    case 'double': {
      const bytes = Buffer.alloc(8)
      bytes.writeDoubleBE(number(value))
      writer.raw(bytes)
      return
    }
    case 'bigint':
    case 'counter':
    case 'time':
    case 'timestamp':
      writer.long(BigInt.asIntN(64, bigint(value)))
      return
    case 'varint':
      writer.raw(varintBytes(bigint(value)))
      return
    case 'uuid':
    case 'timeuuid':
      writer.raw(uuidBytes(text(value)))
      return
    case 'inet':
      writer.raw(inetBytes(text(value)))
      return
    case 'blob':
    case 'custom':
      assert(Buffer.isBuffer(value), 'bytes are a Buffer')
      writer.raw(value)
      return
    case 'decimal': {
      const decimal = value as Decimal
      writer.int(decimal.scale).raw(varintBytes(decimal.unscaled))
      return
    }
    case 'duration': {
      const duration = value as Duration
      writeVint(writer, BigInt(duration.months))
      writeVint(writer, BigInt(duration.days))
      writeVint(writer, duration.nanoseconds)
      return
    }
    case 'list':
    case 'set': {
      const items = array(value)
      writer.int(items.length)
      for (const item of items) writer.bytes(encodeValue(type.element, item))
      return
    }
    case 'map': {
      const pairs = value instanceof Map ? [...value] : array(value).map(array)
      writer.int(pairs.length)
      for (const pair of pairs) {
        writer.bytes(encodeValue(type.key, pair[0] ?? null)).bytes(encodeValue(type.value, pair[1] ?? null))
      }
      return
    }
    case 'tuple': {
      const items = array(value)
      type.elements.forEach((element, i) => {
        writer.bytes(encodeValue(element, items[i] ?? null))
      })
      return
    }
    case 'udt': {
      assert(value instanceof Map, 'a udt is a Map of its fields')
      for (const field of type.fields) writer.bytes(encodeValue(field.type, value.get(field.name) ?? null))
      return
    }
    case 'vector': {
      const items = array(value)
      assert(items.length === type.dimension, 'a vector has as many elements as its type says')
      const fixed = fixedBytes(type.element)
      for (const item of items) {
        const bytes = encodeValue(type.element, item)
        assert(bytes !== null, 'a vector has no null elements')
        if (fixed === undefined) writeUnsignedVint(writer, BigInt(bytes.length))
        writer.raw(bytes)
      }
    }
  }
}

/**
 * The value that `bytes` hold; null for null. PROTOCOL where they do not fit the type. "Empty" values of types that are not text
 * or blob, a legacy of Thrift, decode to null.
 */
export function decodeValue(type: CqlType, bytes: Buffer | null): CqlValue {
  if (bytes === null) return null
  const reader = new BodyReader().reset(bytes, 0, bytes.length)
  const value = readValue(reader, type)
  reader.assertDone()
  return value
}

function readValue(reader: BodyReader, type: CqlType): CqlValue {
  const bytes = reader.remaining
  if (type.kind === 'ascii' || type.kind === 'text') return reader.text(bytes)
  if (type.kind === 'blob' || type.kind === 'custom') return rest(reader)
  if (bytes === 0 && !(type.kind === 'tuple' || type.kind === 'udt' || type.kind === 'vector')) return null
  switch (type.kind) {
    case 'boolean':
      return reader.byte() !== 0
    case 'tinyint':
      return (reader.byte() << 24) >> 24
    case 'smallint':
      return (reader.short() << 16) >> 16
    case 'int':
      return reader.int()
    case 'date':
      return (reader.int() >>> 0) - 2 ** 31
    case 'float':
      return reader.buf.readFloatBE(reader.skip(4))
    case 'double':
      return reader.buf.readDoubleBE(reader.skip(8))
    case 'bigint':
    case 'counter':
    case 'time':
    case 'timestamp':
      return reader.long()
    case 'varint':
      return varintOf(rest(reader))
    case 'uuid':
    case 'timeuuid':
      return uuidText(reader.buf, reader.skip(16))
    case 'inet': {
      if (bytes !== 4 && bytes !== 16) throw new RingfenceError('PROTOCOL', `address of ${bytes} bytes`)
      return inetText(reader.buf, reader.skip(bytes), bytes)
    }
    case 'decimal': {
      const scale = reader.int()
      return { scale, unscaled: varintOf(rest(reader)) }
    }
    case 'duration': {
      const months = int32(readVint(reader))
      const days = int32(readVint(reader))
      return { months, days, nanoseconds: readVint(reader) }
    }
    case 'list':
    case 'set': {
      const count = reader.count()
      const items: CqlValue[] = []
      for (let i = 0; i < count; i++) items.push(decodeValue(type.element, reader.bytes()))
      return items
    }
    case 'map': {
      const count = reader.count()
      const map = new Map<CqlValue, CqlValue>()
      for (let i = 0; i < count; i++) {
        const key = decodeValue(type.key, reader.bytes())
        map.set(key, decodeValue(type.value, reader.bytes()))
      }
      return map
    }
    case 'tuple':
      // Fewer than the type has is allowed: the rest are null.
      return type.elements.map((element) => (reader.remaining === 0 ? null : decodeValue(element, reader.bytes())))
    case 'udt': {
      const map = new Map<CqlValue, CqlValue>()
      for (const field of type.fields) {
        map.set(field.name, reader.remaining === 0 ? null : decodeValue(field.type, reader.bytes()))
      }
      return map
    }
    case 'vector': {
      const fixed = fixedBytes(type.element)
      const items: CqlValue[] = []
      for (let i = 0; i < type.dimension; i++) {
        const elementBytes = fixed ?? Number(readUnsignedVint(reader))
        const at = reader.skip(elementBytes)
        items.push(decodeValue(type.element, reader.buf.subarray(at, at + elementBytes)))
      }
      return items
    }
  }
}

function rest(reader: BodyReader): Buffer {
  const at = reader.skip(reader.remaining)
  return reader.buf.subarray(at, reader.end)
}

// --- variable integers (`org.apache.cassandra.utils.vint.VIntCoding`)

/** As many leading ones in the first byte as bytes follow, then the number, most significant byte first. */
export function readUnsignedVint(reader: BodyReader): bigint {
  const first = reader.byte()
  const extra = Math.clz32(~(first << 24))
  let value = extra >= 8 ? 0n : BigInt(first & (0xff >> extra))
  for (let i = 0; i < extra; i++) value = (value << 8n) | BigInt(reader.byte())
  return value
}

export function writeUnsignedVint(writer: BodyWriter, value: bigint): void {
  let extra = 0
  while (extra < 8 && value >> BigInt(7 * (extra + 1)) !== 0n) extra++
  const top = extra === 8 ? 0n : value >> BigInt(8 * extra)
  writer.byte(Number(top) | (0xff & ~(0xff >> extra)))
  for (let i = extra - 1; i >= 0; i--) writer.byte(Number((value >> BigInt(8 * i)) & 0xffn))
}

/** Zig-zag: 0, −1, 1, −2, 2 are 0, 1, 2, 3, 4. */
export function readVint(reader: BodyReader): bigint {
  const value = readUnsignedVint(reader)
  return (value >> 1n) ^ -(value & 1n)
}

export function writeVint(writer: BodyWriter, value: bigint): void {
  writeUnsignedVint(writer, BigInt.asUintN(64, (value << 1n) ^ (value >> 63n)))
}

function int32(value: bigint): number {
  if (BigInt.asIntN(32, value) !== value)
    throw new RingfenceError('PROTOCOL', 'part of a duration does not fit 32 bits')
  return Number(value)
}

/** Two's complement, most significant byte first, as short as can be (§6.24). */
function varintBytes(value: bigint): Buffer {
  let bytes = 1
  while (BigInt.asIntN(bytes * 8, value) !== value) bytes++
  const hex = BigInt.asUintN(bytes * 8, value).toString(16)
  return Buffer.from(hex.padStart(bytes * 2, '0'), 'hex')
}

function varintOf(bytes: Buffer): bigint {
  if (bytes.length === 0) return 0n
  return BigInt.asIntN(bytes.length * 8, BigInt(`0x${bytes.toString('hex')}`))
}

// --- texts

/** Sixteen bytes of a uuid in the usual letters. */
export function uuidBytes(uuid: string): Buffer {
  const bytes = Buffer.from(uuid.replaceAll('-', ''), 'hex')
  assert(bytes.length === 16, 'a uuid has 16 bytes')
  return bytes
}

/** Four or sixteen bytes of an address that has been found well-formed before. */
export function inetBytes(address: string): Buffer {
  if (!address.includes(':')) {
    const parts = address.split('.').map(Number)
    assert(parts.length === 4 && parts.every((part) => part >= 0 && part <= 255), 'an ipv4 address has four parts')
    return Buffer.from(parts)
  }
  // A dotted tail is two groups.
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address)
  const plain = dotted
    ? `${dotted[1]}${inetBytes(dotted[2]!)
        .toString('hex')
        .replace(/(....)(....)/, '$1:$2')}`
    : address
  const [head = '', tail] = plain.split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)))
  const front = groups(head)
  const back = tail === undefined ? [] : groups(tail)
  const zeroes = 8 - front.length - back.length
  assert(tail === undefined ? zeroes === 0 : zeroes >= 0, 'an ipv6 address has eight groups')
  const bytes = Buffer.alloc(16)
  ;[...front, ...Array<number>(zeroes).fill(0), ...back].forEach((group, i) => {
    bytes.writeUInt16BE(group, i * 2)
  })
  return bytes
}

function text(value: CqlValue): string {
  assert(typeof value === 'string', 'a text is a string')
  return value
}

function number(value: CqlValue): number {
  assert(typeof value === 'number', 'a number is a number')
  return value
}

function bigint(value: CqlValue): bigint {
  assert(typeof value === 'bigint' || typeof value === 'number', 'a long is a bigint')
  return BigInt(value)
}

function array(value: CqlValue): readonly CqlValue[] {
  assert(Array.isArray(value), 'a collection is an array')
  return value
}

// --- vectors: custom types whose class name says what they hold

const marshal = 'org.apache.cassandra.db.marshal.'

const marshalNames = new Map<NativeTypeName, string>([
  ['ascii', 'AsciiType'],
  ['bigint', 'LongType'],
  ['blob', 'BytesType'],
  ['boolean', 'BooleanType'],
  ['counter', 'CounterColumnType'],
  ['decimal', 'DecimalType'],
  ['double', 'DoubleType'],
  ['float', 'FloatType'],
  ['int', 'Int32Type'],
  ['timestamp', 'TimestampType'],
  ['uuid', 'UUIDType'],
  ['text', 'UTF8Type'],
  ['varint', 'IntegerType'],
  ['timeuuid', 'TimeUUIDType'],
  ['inet', 'InetAddressType'],
  ['date', 'SimpleDateType'],
  ['time', 'TimeType'],
  ['smallint', 'ShortType'],
  ['tinyint', 'ByteType'],
  ['duration', 'DurationType'],
])
const marshalTypes = new Map([...marshalNames].map(([kind, name]) => [name, native(kind)]))

/** Bytes of every value of the type, where they are always as many (`AbstractType.valueLengthIfFixed`). */
export function fixedBytes(type: CqlType): number | undefined {
  switch (type.kind) {
    case 'boolean':
      return 1
    case 'int':
    case 'float':
      return 4
    case 'bigint':
    case 'double':
    case 'timestamp':
      return 8
    case 'uuid':
    case 'timeuuid':
      return 16
    case 'vector': {
      const element = fixedBytes(type.element)
      return element === undefined ? undefined : element * type.dimension
    }
    default:
      return undefined
  }
}

function marshalName(type: CqlType): string {
  switch (type.kind) {
    case 'custom':
      return type.className
    case 'vector':
      return `${marshal}VectorType(${marshalName(type.element)}, ${type.dimension})`
    case 'list':
      return `${marshal}ListType(${marshalName(type.element)})`
    case 'set':
      return `${marshal}SetType(${marshalName(type.element)})`
    case 'map':
      return `${marshal}MapType(${marshalName(type.key)},${marshalName(type.value)})`
    case 'tuple':
      return `${marshal}TupleType(${type.elements.map(marshalName).join(',')})`
    case 'udt':
      return `${marshal}UserType(${type.keyspace},${hex(type.name)},${type.fields
        .map((field) => `${hex(field.name)}:${marshalName(field.type)}`)
        .join(',')})`
    default:
      return marshal + marshalNames.get(type.kind)!
  }
}

function hex(name: string): string {
  return Buffer.from(name, 'utf8').toString('hex')
}

/** A vector where the class name is one whose element we know, else the custom type that it says it is. */
function customType(className: string): CqlType {
  if (!className.startsWith(`${marshal}VectorType(`)) return { kind: 'custom', className }
  return vectorOf(className, 0) ?? { kind: 'custom', className }
}

function vectorOf(name: string, depth: number): CqlType | undefined {
  // The last comma parts element and dimension; no regular expression, since the name is as long as a node likes.
  const comma = name.lastIndexOf(',')
  const dimension = name.slice(comma + 1, -1).trim()
  if (comma < 0 || !name.endsWith(')') || !/^\d{1,5}$/.test(dimension)) return undefined
  const element = marshalType(name.slice(`${marshal}VectorType(`.length, comma).trim(), depth + 1)
  return element && { kind: 'vector', element, dimension: Number(dimension) }
}

function marshalType(name: string, depth: number): CqlType | undefined {
  if (!name.startsWith(marshal)) return undefined
  const simple = marshalTypes.get(name.slice(marshal.length))
  if (simple !== undefined) return simple
  const open = name.indexOf('(')
  if (open < 0 || !name.endsWith(')') || depth > limits.nestingDepthMax) return undefined
  const inner = name.slice(open + 1, -1)
  switch (name.slice(marshal.length, open)) {
    case 'VectorType':
      return vectorOf(name, depth)
    case 'FrozenType':
      return marshalType(inner, depth + 1)
    case 'ListType':
    case 'SetType': {
      const element = marshalType(inner, depth + 1)
      return element && { kind: name.startsWith(`${marshal}List`) ? 'list' : 'set', element }
    }
    default:
      return undefined
  }
}
