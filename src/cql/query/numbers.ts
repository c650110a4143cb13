/** Arithmetic and casts of numbers (`cql3/functions/OperationFcts.java`, `CastFcts.java`). Integers wrap, as Java's do. */
import { type CqlType, type NativeTypeName, native } from '../types.ts'
import { type CqlValue, decodeValue, encodeValue } from '../values.ts'
import { integerValue, integral } from './constants.ts'
import { dateText, javaDouble, javaFloat, timestampText } from './json.ts'
import { invalid, unsupported } from './unsupported.ts'

const integers: readonly NativeTypeName[] = ['tinyint', 'smallint', 'int', 'bigint']

export function isInteger(type: CqlType): type is { kind: NativeTypeName } {
  return type.kind === 'counter' || integers.includes(type.kind as NativeTypeName)
}

export function isFloating(type: CqlType): type is { kind: 'float' | 'double' } {
  return type.kind === 'float' || type.kind === 'double'
}

export function numberValue(type: CqlType, bytes: Buffer): number {
  return isFloating(type) ? (decodeValue(type, bytes) as number) : Number(integerValue(bytes) ?? 0n)
}

/** The type of the result: the wider one; a float beside an int is a double as in Cassandra only where the int has 64 bits. */
export function resultType(left: CqlType, right: CqlType): CqlType {
  if (isInteger(left) && isInteger(right)) {
    const [a, b] = [left, right].map(({ kind }) => integers.indexOf(kind === 'counter' ? 'bigint' : kind))
    return native(integers[Math.max(a!, b!)]!)
  }
  const both = [left, right]
  if (!both.every((type) => isInteger(type) || isFloating(type))) {
    throw unsupported(`arithmetic of ${left.kind} and ${right.kind}`)
  }
  const wide = both.some(({ kind }) => kind === 'double' || kind === 'bigint' || kind === 'counter')
  return native(wide ? 'double' : 'float')
}

export function operate(
  operator: string,
  type: CqlType,
  left: Buffer,
  right: Buffer,
  of: readonly [CqlType, CqlType],
): Buffer | null {
  if (left.length === 0 || right.length === 0) return null
  if (isInteger(type)) {
    const [a, b] = [integerValue(left) ?? 0n, integerValue(right) ?? 0n]
    if (b === 0n && (operator === '/' || operator === '%')) {
      throw invalid(`the operation '${of[0].kind} ${operator} ${of[1].kind}' failed: / by zero`)
    }
    const value =
      operator === '+' ? a + b : operator === '-' ? a - b : operator === '*' ? a * b : operator === '/' ? a / b : a % b
    return integral(type.kind, value)
  }
  const [a, b] = [numberValue(of[0], left), numberValue(of[1], right)]
  const value =
    operator === '+' ? a + b : operator === '-' ? a - b : operator === '*' ? a * b : operator === '/' ? a / b : a % b
  return encodeValue(type, value)
}

/** Where one native type can be cast to another here; the values of others are refused. */
export function castOf(from: CqlType, to: CqlType): (bytes: Buffer) => Buffer | null {
  if (from.kind === to.kind) return (bytes) => bytes
  if (to.kind === 'text' || to.kind === 'ascii') {
    const textOf = textCast(from)
    return (bytes) => (bytes.length === 0 && from.kind !== 'ascii' ? null : Buffer.from(textOf(bytes)))
  }
  if (isInteger(from) && isInteger(to))
    return (bytes) => (bytes.length === 0 ? null : integral(to.kind, integerValue(bytes) ?? 0n))
  if ((isInteger(from) || isFloating(from)) && isFloating(to)) {
    return (bytes) => (bytes.length === 0 ? null : encodeValue(to, numberValue(from, bytes)))
  }
  if (isFloating(from) && isInteger(to)) {
    return (bytes) => (bytes.length === 0 ? null : integral(to.kind, truncated(numberValue(from, bytes), to.kind)))
  }
  throw unsupported(`a cast of ${from.kind} to ${to.kind}`)
}

/** Java's conversion: towards zero, NaN to 0, beyond the bounds to the bound (of int for the narrower ones, which then wrap). */
export function truncated(value: number, kind: NativeTypeName): bigint {
  if (Number.isNaN(value)) return 0n
  const bits = kind === 'bigint' || kind === 'counter' ? 64n : 32n
  const max = 2n ** (bits - 1n) - 1n
  if (!Number.isFinite(value)) return value > 0 ? max : -max - 1n
  const whole = BigInt(Math.trunc(value))
  return whole > max ? max : whole < -max - 1n ? -max - 1n : whole
}

function textCast(from: CqlType): (bytes: Buffer) => string {
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
    case 'float':
      return (bytes) => floatText(value(bytes) as number, javaFloat)
    case 'double':
      return (bytes) => floatText(value(bytes) as number, javaDouble)
    case 'timestamp':
      return (bytes) => timestampText(value(bytes) as bigint)
    case 'date':
      return (bytes) => dateText(value(bytes) as number)
    default:
      throw unsupported(`a cast of ${from.kind} to text`)
  }
}

function floatText(value: number, finite: (value: number) => string): string {
  return Number.isFinite(value) ? finite(value) : String(value)
}
