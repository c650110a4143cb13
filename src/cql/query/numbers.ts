/** Numbers, and what can be reckoned with them (`NumberType.java` and its kinds). Integers wrap, as Java's do. */
import { type CqlType, type NativeTypeName, native } from '../types.ts'
import { type Decimal, decodeValue, encodeValue } from '../values.ts'
import { aligned, decimalBytes, decimalOf, readDecimal } from './decimals.ts'
import { integerValue, integral } from './integers.ts'
import { javaDouble } from './json.ts'
import { invalid, unsupported } from './unsupported.ts'

export type Operator = '+' | '-' | '*' | '/' | '%'

const integers: readonly NativeTypeName[] = ['tinyint', 'smallint', 'int', 'bigint']

export function isInteger(type: CqlType): type is { kind: NativeTypeName } {
  return type.kind === 'counter' || integers.includes(type.kind as NativeTypeName)
}

export function isFloating(type: CqlType): type is { kind: 'float' | 'double' } {
  return type.kind === 'float' || type.kind === 'double'
}

export function isNumber(type: CqlType): boolean {
  return isInteger(type) || isFloating(type) || type.kind === 'varint' || type.kind === 'decimal'
}

export function numberValue(type: CqlType, bytes: Buffer): number {
  return isFloating(type) ? (decodeValue(type, bytes) as number) : Number(integerValue(bytes) ?? 0n)
}

/** The type of the result: the wider one; a float beside an int is a double as in Cassandra only where the int has 64 bits. */
export function resultType(left: CqlType, right: CqlType): CqlType {
  const both = [left, right]
  if (isInteger(left) && isInteger(right)) {
    const [a, b] = both.map(({ kind }) => integers.indexOf(kind === 'counter' ? 'bigint' : (kind as NativeTypeName)))
    return native(integers[Math.max(a!, b!)]!)
  }
  const unbound = both.some(({ kind }) => kind === 'varint')
  if (both.some(({ kind }) => kind === 'decimal') || (unbound && both.some(isFloating))) return native('decimal')
  if (unbound) return native('varint')
  const wide = both.some(({ kind }) => kind === 'double' || kind === 'bigint' || kind === 'counter')
  return native(wide ? 'double' : 'float')
}

/** Of values that are not empty. */
export function operate(
  operator: Operator,
  type: CqlType,
  left: Buffer,
  right: Buffer,
  of: readonly [CqlType, CqlType],
): Buffer | null {
  if (isInteger(type) || type.kind === 'varint') {
    const value = ofIntegers(operator, integerOf(of[0], left), integerOf(of[1], right), of)
    return isInteger(type) ? integral(type.kind, value) : encodeValue(type, value)
  }
  if (type.kind === 'decimal') return ofDecimals(operator, asDecimal(of[0], left), asDecimal(of[1], right), of)
  const [a, b] = [numberValue(of[0], left), numberValue(of[1], right)]
  const value =
    operator === '+' ? a + b : operator === '-' ? a - b : operator === '*' ? a * b : operator === '/' ? a / b : a % b
  return encodeValue(type, value)
}

function ofIntegers(operator: Operator, a: bigint, b: bigint, of: readonly [CqlType, CqlType]): bigint {
  if (b === 0n && (operator === '/' || operator === '%')) throw byZero(operator, of)
  switch (operator) {
    case '+':
      return a + b
    case '-':
      return a - b
    case '*':
      return a * b
    case '/':
      return a / b
    case '%':
      return a % b
  }
}

/** Of a number without a bound. A node takes longer ones, and rounds decimals to 10,000 digits. */
const numberBytesMax = 1024

function integerOf(type: CqlType, bytes: Buffer): bigint {
  if (bytes.length > numberBytesMax) throw unsupported('arithmetic of so many digits')
  return type.kind === 'varint' ? (decodeValue(type, bytes) as bigint) : (integerValue(bytes) ?? 0n)
}

function byZero(operator: string, [left, right]: readonly [CqlType, CqlType]): Error {
  return invalid(`the operation '${left.kind} ${operator} ${right.kind}' failed: / by zero`)
}

// --- decimals (`DecimalType.java`)

const significantDigitsMin = 32n
const divisionScaleMax = 1000n

/** As a node makes one of a number with a bound: by way of a double, so that 1 is 1.0. */
function asDecimal(type: CqlType, bytes: Buffer): Decimal {
  if (type.kind === 'varint') return { unscaled: integerOf(type, bytes), scale: 0 }
  if (bytes.length > numberBytesMax) throw unsupported('arithmetic of so many digits')
  if (type.kind === 'decimal') return readDecimal(bytes)
  const number = numberValue(type, bytes)
  if (!Number.isFinite(number)) throw invalid('a number that is not finite cannot be converted into a decimal')
  return decimalOf(javaDouble(number))
}

function ofDecimals(operator: Operator, left: Decimal, right: Decimal, of: readonly [CqlType, CqlType]): Buffer {
  if (operator === '*')
    return decimalBytes({ unscaled: left.unscaled * right.unscaled, scale: left.scale + right.scale })
  if (operator === '+' || operator === '-') {
    const { a, b, scale } = aligned(left, right)
    return decimalBytes({ unscaled: operator === '+' ? a + b : a - b, scale })
  }
  if (operator === '%') throw unsupported("'%' of decimals")
  if (right.unscaled === 0n) throw byZero(operator, of)
  return decimalBytes(quotient(left, right))
}

const digitsOf = (value: bigint): bigint => BigInt((value < 0n ? -value : value).toString().length)

function quotient(left: Decimal, right: Decimal): Decimal {
  const [leftScale, rightScale] = [BigInt(left.scale), BigInt(right.scale)]
  const firstDigit = digitsOf(left.unscaled) - leftScale - (digitsOf(right.unscaled) - rightScale)
  const wanted = [significantDigitsMin - firstDigit, leftScale, rightScale, significantDigitsMin]
  const most = wanted.reduce((a, b) => (a > b ? a : b))
  const scale = most > divisionScaleMax ? divisionScaleMax : most
  const shift = scale + rightScale - leftScale
  const above = shift >= 0n ? left.unscaled * 10n ** shift : left.unscaled
  const below = shift >= 0n ? right.unscaled : right.unscaled * 10n ** -shift
  return withoutZeros(halfUp(above, below), Number(scale))
}

function halfUp(above: bigint, below: bigint): bigint {
  const [a, b] = [above < 0n ? -above : above, below < 0n ? -below : below]
  const rounded = (2n * a + b) / (2n * b)
  return above < 0n === below < 0n ? rounded : -rounded
}

function withoutZeros(unscaled: bigint, scale: number): Decimal {
  if (unscaled === 0n) return { unscaled, scale: 0 }
  const digits = unscaled.toString()
  const zeros = digits.length - digits.replace(/0+$/, '').length
  return { unscaled: unscaled / 10n ** BigInt(zeros), scale: scale - zeros }
}

// --- Java's conversions

/** Towards zero, NaN to 0, beyond the bounds to the bound (of int for the narrower ones, which then wrap). */
export function truncated(value: number, kind: NativeTypeName): bigint {
  if (Number.isNaN(value)) return 0n
  const bits = kind === 'bigint' || kind === 'counter' ? 64n : 32n
  const max = 2n ** (bits - 1n) - 1n
  if (!Number.isFinite(value)) return value > 0 ? max : -max - 1n
  const whole = BigInt(Math.trunc(value))
  return whole > max ? max : whole < -max - 1n ? -max - 1n : whole
}
