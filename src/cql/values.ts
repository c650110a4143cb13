/**
 * How a value is written (native_protocol_v5.spec §6, §7), without a length in front. Values in JavaScript:
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
import { BodyReader, inetText, uuidText } from './reader.ts'
import { inetBytes, uuidBytes } from './text-bytes.ts'
import { type CqlType, fixedBytes } from './types.ts'
import { readUnsignedVint, readVint, writeUnsignedVint, writeVint } from './vint.ts'
import { BodyWriter } from './writer.ts'

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

function int32(value: bigint): number {
  if (BigInt.asIntN(32, value) !== value)
    throw new RingfenceError('PROTOCOL', 'part of a duration does not fit 32 bits')
  return Number(value)
}

/** Two's complement, most significant byte first, as short as can be (§6.24). */
function varintBytes(value: bigint): Buffer {
  const magnitude = (value < 0n ? ~value : value).toString(16)
  const bits = 4 * magnitude.length - Math.clz32(Number.parseInt(magnitude[0]!, 16)) + 28
  // And one for the sign.
  const bytes = Math.floor(bits / 8) + 1
  const hex = BigInt.asUintN(bytes * 8, value).toString(16)
  return Buffer.from(hex.padStart(bytes * 2, '0'), 'hex')
}

function varintOf(bytes: Buffer): bigint {
  if (bytes.length === 0) return 0n
  return BigInt.asIntN(bytes.length * 8, BigInt(`0x${bytes.toString('hex')}`))
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
