/** Constants of a statement as values of the type that is wanted (`cql3/Constants.java`). */
import { T } from '../statement/tokens.ts'
import { uuidBytes } from '../text-bytes.ts'
import { type CqlType, type NativeTypeName, native } from '../types.ts'
import { encodeValue } from '../values.ts'
import { invalid, unsupported } from './unsupported.ts'

const integralBytes: Readonly<Record<string, bigint>> = {
  tinyint: 8n,
  smallint: 16n,
  int: 32n,
  bigint: 64n,
  counter: 64n,
}

/** @throws RingfenceError INVALID where the constant is none of that type */
export function constantOf(token: number, text: string, type: CqlType): Buffer {
  // Made only where it is thrown: an error takes longer than all else here.
  const wrong = (): Error => invalid(`invalid constant for a value of type ${type.kind}`)
  switch (type.kind) {
    case 'ascii':
    case 'text':
      if (token !== T.STRING) throw wrong()
      return Buffer.from(text)
    case 'blob':
      if (token !== T.HEX || text.length % 2 !== 0) throw wrong()
      return Buffer.from(text.slice(2), 'hex')
    case 'boolean':
      if (token !== T.BOOLEAN) throw wrong()
      return Buffer.of(text.toLowerCase() === 'true' ? 1 : 0)
    case 'tinyint':
    case 'smallint':
    case 'int':
    case 'bigint':
    case 'counter': {
      if (token !== T.INTEGER) throw wrong()
      const value = BigInt(text)
      if (BigInt.asIntN(Number(integralBytes[type.kind]), value) !== value) throw wrong()
      return integral(type.kind, value)
    }
    case 'varint':
      if (token !== T.INTEGER) throw wrong()
      return encodeValue(type, BigInt(text))!
    case 'float':
    case 'double':
      if (token !== T.INTEGER && token !== T.FLOAT && token !== T.NOT_FINITE) throw wrong()
      return encodeValue(type, Number(text.replace(/^(-?)nan$/i, 'NaN').replace(/^(-?)infinity$/i, '$1Infinity')))!
    case 'uuid':
    case 'timeuuid':
      if (token !== T.UUID) throw wrong()
      return Buffer.from(uuidBytes(text.toLowerCase()))
    case 'timestamp':
      if (token === T.INTEGER) return encodeValue(type, BigInt(text))!
      if (token === T.STRING) return encodeValue(type, BigInt(millisecondsOf(text)))!
      throw wrong()
    case 'inet':
      // A node would also look up a host name.
      if (token !== T.STRING || !isAddress(text)) throw wrong()
      return encodeValue(type, text)!
    default:
      throw unsupported(`a constant of type ${type.kind}`)
  }
}

const ipv4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/

function isAddress(text: string): boolean {
  if (!text.includes(':')) return ipv4.test(text)
  // A dotted tail is two groups.
  const [, head, dotted] = /^(.*:)([\d.]+\.[\d.]+)$/.exec(text) ?? []
  if (dotted !== undefined && !ipv4.test(dotted)) return false
  const halves = (dotted === undefined ? text : `${head}0:0`).split('::')
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')))
  const hasRoom = halves.length === 2 ? groups.length < 8 : halves.length === 1 && groups.length === 8
  return hasRoom && groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))
}

function millisecondsOf(text: string): number {
  const match = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?))?\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)?$/.exec(
    text,
  )
  const [, day, time = '00:00', zone = 'Z'] = match ?? []
  const offset = zone === 'UTC' || zone === 'GMT' ? 'Z' : zone.replace(/^([+-]\d\d)(\d\d)$/, '$1:$2')
  const milliseconds = match === null ? Number.NaN : Date.parse(`${day}T${time}${offset}`)
  if (Number.isNaN(milliseconds)) throw invalid('unable to parse a date/time')
  return milliseconds
}

/** The type that a constant has where nothing around it says one; undefined where Cassandra asks for a cast. */
export function preferredType(token: number, text: string): CqlType | undefined {
  switch (token) {
    case T.INTEGER: {
      const value = BigInt(text)
      if (BigInt.asIntN(32, value) === value) return native('int')
      return BigInt.asIntN(64, value) === value ? native('bigint') : native('varint')
    }
    case T.STRING:
      return native('text')
    case T.BOOLEAN:
      return native('boolean')
    case T.UUID:
      return native('uuid')
    case T.HEX:
      return native('blob')
    case T.FLOAT:
    case T.NOT_FINITE:
      return native('double')
    default:
      return undefined
  }
}

/** The low bits of `value`, as the type has them. */
export function integral(kind: NativeTypeName, value: bigint): Buffer {
  switch (kind) {
    case 'tinyint':
      return Buffer.of(Number(BigInt.asUintN(8, value)))
    case 'smallint': {
      const bytes = Buffer.alloc(2)
      bytes.writeInt16BE(Number(BigInt.asIntN(16, value)))
      return bytes
    }
    case 'int': {
      const bytes = Buffer.alloc(4)
      bytes.writeInt32BE(Number(BigInt.asIntN(32, value)))
      return bytes
    }
    default: {
      const bytes = Buffer.alloc(8)
      bytes.writeBigInt64BE(BigInt.asIntN(64, value))
      return bytes
    }
  }
}

/** Of tinyint, smallint, int, bigint, counter, timestamp; undefined for an empty value. */
export function integerValue(bytes: Buffer): bigint | undefined {
  switch (bytes.length) {
    case 1:
      return BigInt(bytes.readInt8(0))
    case 2:
      return BigInt(bytes.readInt16BE(0))
    case 4:
      return BigInt(bytes.readInt32BE(0))
    case 8:
      return bytes.readBigInt64BE(0)
    default:
      return undefined
  }
}
