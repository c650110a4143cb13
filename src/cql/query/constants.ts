/** Constants of a statement as values of the type that is wanted (`cql3/Constants.java`). */
import { T } from '../statement/tokens.ts'
import { uuidBytes } from '../text-bytes.ts'
import { type CqlType, native } from '../types.ts'
import { encodeValue } from '../values.ts'
import { decimalBytes, decimalOf, isSameNumber } from './decimals.ts'
import { integral } from './integers.ts'
import { durationOf } from './times.ts'
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
      if (token !== T.STRING || (type.kind === 'ascii' && !isAscii.test(text))) throw wrong()
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
    case 'timeuuid': {
      if (token !== T.UUID) throw wrong()
      const uuid = Buffer.from(uuidBytes(text.toLowerCase()))
      if (type.kind === 'timeuuid' && uuid[6]! >> 4 !== 1) throw invalid('TimeUUID supports only version 1 UUIDs')
      return uuid
    }
    case 'timestamp':
      if (token === T.INTEGER) return encodeValue(type, BigInt(text))!
      if (token === T.STRING && text === '') return Buffer.alloc(0)
      if (token === T.STRING) return encodeValue(type, BigInt(millisecondsOf(text)))!
      throw wrong()
    case 'inet':
      // A node would also look up a host name.
      if (token !== T.STRING || !isAddress(text)) throw wrong()
      return encodeValue(type, text)!
    case 'decimal':
      if (token !== T.INTEGER && token !== T.FLOAT) throw wrong()
      return decimalBytes(decimalOf(text))
    case 'duration':
      // A node takes an integer for one, and then finds that it is none.
      if (token !== T.DURATION) throw wrong()
      return encodeValue(type, durationOf(text))!
    case 'date':
      if (token !== T.STRING && token !== T.INTEGER) throw wrong()
      return encodeValue(type, daysOf(text))!
    case 'time':
      if (token !== T.STRING && token !== T.INTEGER) throw wrong()
      return integral('bigint', nanosecondsOf(text))
    case 'list':
    case 'set':
    case 'map':
    case 'tuple':
    case 'udt':
    case 'vector':
      throw wrong()
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

/** Since 1970. A number counts from 2^31 days before. */
function daysOf(text: string): number {
  if (/^-?\d+$/.test(text)) {
    const days = BigInt(text)
    if (days < 0n || days >= 2n ** 32n) throw invalid('unable to make a date of a number')
    return Number(days) - 2 ** 31
  }
  const midnight = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN
  // JavaScript takes February 30 for March 2.
  if (Number.isNaN(midnight) || !new Date(midnight).toISOString().startsWith(text)) {
    throw invalid('unable to parse a date')
  }
  return midnight / 86_400_000
}

/** Of the day. */
function nanosecondsOf(text: string): bigint {
  if (/^-?\d+$/.test(text)) {
    const nanoseconds = BigInt(text)
    if (nanoseconds < 0n || nanoseconds >= 86_400_000_000_000n) throw invalid('unable to make a time of a number')
    return nanoseconds
  }
  const [, hours = '24', minutes = '', seconds = '', fraction = ''] =
    /^(\d{1,9}):(\d{1,9}):(\d{1,9})(?:\.(\d{1,9}))?$/.exec(text.trim()) ?? []
  const [h, m, s] = [Number(hours), Number(minutes), Number(seconds)]
  if (h > 23 || m > 59 || s > 59) throw invalid('unable to parse a time')
  return BigInt(h * 3600 + m * 60 + s) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'))
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
      return native(isAscii.test(text) ? 'ascii' : 'text')
    case T.BOOLEAN:
      return native('boolean')
    case T.UUID:
      return native(text[14] === '1' ? 'timeuuid' : 'uuid')
    case T.HEX:
      return native('blob')
    case T.DURATION:
      return native('duration')
    case T.NOT_FINITE:
      return native('double')
    case T.FLOAT:
      return native(isDouble(text) ? 'double' : 'decimal')
    default:
      return undefined
  }
}

const isAscii = /^[\x00-\x7f]*$/

/** Whether a double writes the number as it stands. */
function isDouble(text: string): boolean {
  const number = Number(text)
  return Number.isFinite(number) && isSameNumber(decimalOf(text), decimalOf(String(number)))
}
