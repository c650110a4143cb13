/** `cast(… as …)` (`cql3/functions/CastFcts.java`). */
import type { CqlType } from '../types.ts'
import { type CqlValue, decodeValue, encodeValue } from '../values.ts'
import { decimalBytes, decimalOf, decimalText, numberOf, readDecimal, wholeOf } from './decimals.ts'
import { integerValue, integral } from './integers.ts'
import { dateText, javaDouble, javaFloat, timestampText, timeText } from './json.ts'
import { isFloating, isInteger, isNumber, numberValue, truncated } from './numbers.ts'
import { dateBytes, millisecondsOf, timestampBytes } from './times.ts'
import { invalid } from './unsupported.ts'

type Cast = (bytes: Buffer) => Buffer | null

/** Of a value that is not null. @throws RingfenceError INVALID where a node has no such cast */
export function castOf(from: CqlType, to: CqlType): Cast {
  if (from.kind === to.kind) return (bytes) => bytes
  if (to.kind === 'text' || to.kind === 'ascii') {
    const textOf = textCast(from, to)
    return (bytes) => (bytes.length === 0 && from.kind !== 'ascii' ? null : Buffer.from(textOf(bytes)))
  }
  const cast = isNumber(from) && isNumber(to) ? numberCast(from, to) : timeCast(from.kind, to.kind)
  if (cast === undefined) throw noCast(from, to)
  return (bytes) => (bytes.length === 0 ? null : cast(bytes))
}

function noCast(from: CqlType, to: CqlType): Error {
  return invalid(`a value of type ${from.kind} cannot be cast to ${to.kind}`)
}

function timeCast(from: string, to: string): Cast | undefined {
  if (to === 'date' && (from === 'timeuuid' || from === 'timestamp')) {
    return (bytes) => dateBytes(millisecondsOf(from, bytes))
  }
  if (to === 'timestamp' && (from === 'timeuuid' || from === 'date')) {
    return (bytes) => timestampBytes(millisecondsOf(from, bytes))
  }
  return undefined
}

function numberCast(from: CqlType, to: CqlType): Cast {
  if (to.kind === 'decimal') return decimalCast(from)
  if (from.kind === 'decimal') {
    return (bytes) => {
      const decimal = readDecimal(bytes)
      if (isFloating(to)) return encodeValue(to, numberOf(decimal))
      const whole = BigInt.asIntN(64, wholeOf(decimal))
      return isInteger(to) ? integral(to.kind, whole) : encodeValue(to, whole)
    }
  }
  const whole = (bytes: Buffer): bigint =>
    isFloating(from)
      ? truncated(numberValue(from, bytes), isInteger(to) ? to.kind : 'bigint')
      : from.kind === 'varint'
        ? (decodeValue(from, bytes) as bigint)
        : (integerValue(bytes) ?? 0n)
  if (isInteger(to)) return (bytes) => integral(to.kind, whole(bytes))
  // `BigInteger.valueOf(long)`
  if (to.kind === 'varint') return (bytes) => encodeValue(to, BigInt.asIntN(64, whole(bytes)))
  return (bytes) => encodeValue(to, isFloating(from) ? numberValue(from, bytes) : Number(whole(bytes)))
}

function decimalCast(from: CqlType): Cast {
  return (bytes) => {
    if (from.kind === 'varint') return decimalBytes({ unscaled: decodeValue(from, bytes) as bigint, scale: 0 })
    if (!isFloating(from)) return decimalBytes({ unscaled: integerValue(bytes) ?? 0n, scale: 0 })
    const number = numberValue(from, bytes)
    if (!Number.isFinite(number)) throw invalid('a number that is not finite cannot be cast to decimal')
    return decimalBytes(decimalOf(from.kind === 'float' ? javaFloat(number) : javaDouble(number)))
  }
}

function textCast(from: CqlType, to: CqlType): (bytes: Buffer) => string {
  const value = (bytes: Buffer): CqlValue => decodeValue(from, bytes)
  switch (from.kind) {
    case 'ascii':
    case 'uuid':
    case 'timeuuid':
    case 'inet':
    case 'boolean':
    case 'tinyint':
    case 'smallint':
    case 'int':
    case 'bigint':
    case 'counter':
    case 'varint':
      return (bytes) => String(value(bytes))
    case 'decimal':
      return (bytes) => decimalText(readDecimal(bytes))
    case 'float':
      return (bytes) => floatText(value(bytes) as number, javaFloat)
    case 'double':
      return (bytes) => floatText(value(bytes) as number, javaDouble)
    case 'timestamp':
      return (bytes) => timestampText(value(bytes) as bigint)
    case 'date':
      return (bytes) => dateText(value(bytes) as number)
    case 'time':
      return (bytes) => timeText(value(bytes) as bigint)
    default:
      throw noCast(from, to)
  }
}

function floatText(value: number, finite: (value: number) => string): string {
  return Number.isFinite(value) ? finite(value) : String(value)
}
