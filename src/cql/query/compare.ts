/** The order of values, as `AbstractType.compare` of each type has it; it decides ranges, clustering, min and max. */
import { BodyReader } from '../reader.ts'
import type { CqlType } from '../types.ts'
import { decodeValue } from '../values.ts'
import { unsupported } from './unsupported.ts'

/** Below, equal or above 0. An empty value comes before every other, as in Cassandra. */
export function compareValues(type: CqlType, a: Buffer, b: Buffer): number {
  switch (type.kind) {
    case 'ascii':
    case 'text':
    case 'blob':
    case 'inet':
    case 'date':
    case 'custom':
    case 'vector':
      return Buffer.compare(a, b)
    default:
  }
  if (a.length === 0 || b.length === 0) return a.length - b.length
  switch (type.kind) {
    case 'boolean':
    case 'tinyint':
      return a.readInt8(0) - b.readInt8(0)
    case 'smallint':
      return a.readInt16BE(0) - b.readInt16BE(0)
    case 'int':
      return sign(a.readInt32BE(0), b.readInt32BE(0))
    case 'bigint':
    case 'counter':
    case 'timestamp':
    case 'time':
      return sign(a.readBigInt64BE(0), b.readBigInt64BE(0))
    case 'float':
      return compareDoubles(a.readFloatBE(0), b.readFloatBE(0))
    case 'double':
      return compareDoubles(a.readDoubleBE(0), b.readDoubleBE(0))
    case 'varint':
      return sign(decodeValue(type, a) as bigint, decodeValue(type, b) as bigint)
    case 'uuid':
      return compareUuids(a, b)
    case 'timeuuid':
      return compareTimes(a, b) || compareSigned(a.subarray(8), b.subarray(8))
    case 'list':
    case 'set':
      return compareItems([type.element], a, b)
    case 'map':
      return compareItems([type.key, type.value], a, b)
    case 'tuple':
      return compareTuples(type.elements, a, b)
    default:
      throw unsupported(`comparing values of type ${type.kind}`)
  }
}

function sign<Value extends number | bigint>(a: Value, b: Value): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** `Double.compare`: −0.0 before 0.0, NaN after everything. */
function compareDoubles(a: number, b: number): number {
  if (a < b) return -1
  if (a > b) return 1
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b))
  return Number(Object.is(b, -0)) - Number(Object.is(a, -0))
}

/** By version; then those of version 1 by their time; then by bytes. */
function compareUuids(a: Buffer, b: Buffer): number {
  const version = (a[6]! >> 4) - (b[6]! >> 4)
  if (version !== 0) return version
  if (a[6]! >> 4 === 1) return compareTimes(a, b) || Buffer.compare(a.subarray(8), b.subarray(8))
  return Buffer.compare(a, b)
}

function compareTimes(a: Buffer, b: Buffer): number {
  return sign(timeOf(a), timeOf(b))
}

/** 100 ns since 1582, of a UUID of version 1. */
export function timeOf(uuid: Buffer): bigint {
  const high = BigInt(uuid.readUInt16BE(6) & 0x0fff)
  return (high << 48n) | (BigInt(uuid.readUInt16BE(4)) << 32n) | BigInt(uuid.readUInt32BE(0))
}

function compareSigned(a: Buffer, b: Buffer): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const difference = a.readInt8(i) - b.readInt8(i)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** Item by item, each of the `types` in turn; then the shorter one first. */
function compareItems(types: readonly CqlType[], a: Buffer, b: Buffer): number {
  const one = new BodyReader().reset(a, 0, a.length)
  const other = new BodyReader().reset(b, 0, b.length)
  const [oneCount, otherCount] = [one.int(), other.int()]
  for (let i = 0; i < Math.min(oneCount, otherCount); i++) {
    for (const type of types) {
      const difference = compareNullable(type, one.bytes(), other.bytes())
      if (difference !== 0) return difference
    }
  }
  return oneCount - otherCount
}

function compareTuples(types: readonly CqlType[], a: Buffer, b: Buffer): number {
  const one = new BodyReader().reset(a, 0, a.length)
  const other = new BodyReader().reset(b, 0, b.length)
  for (const type of types) {
    if (one.remaining === 0 || other.remaining === 0) break
    const difference = compareNullable(type, one.bytes(), other.bytes())
    if (difference !== 0) return difference
  }
  return one.remaining - other.remaining
}

function compareNullable(type: CqlType, a: Buffer | null, b: Buffer | null): number {
  if (a === null || b === null) return Number(a !== null) - Number(b !== null)
  return compareValues(type, a, b)
}
