/** Numbers with a point and without a bound (`java.math.BigDecimal`). */
import { native } from '../types.ts'
import { type Decimal, decodeValue, encodeValue } from '../values.ts'
import { invalid, unsupported } from './unsupported.ts'

/** Digits behind the point, or zeros before it. A node takes 2^31, and makes them when it is asked for. */
const scaleMax = 1000

/** @throws RingfenceError INVALID for what is no number */
export function decimalOf(text: string): Decimal {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,9}))?$/.exec(text) ?? []
  if (whole === '' && fraction === '') throw invalid('unable to make a decimal of the constant')
  const digits = BigInt(`${whole}${fraction}`)
  return { unscaled: sign === '-' ? -digits : digits, scale: fraction.length - Number(exponent) }
}

/** @throws RingfenceError INVALID where its digits would be too many to write */
export function readDecimal(bytes: Buffer): Decimal {
  return bounded(decodeValue(native('decimal'), bytes) as Decimal)
}

export function decimalBytes(decimal: Decimal): Buffer {
  return encodeValue(native('decimal'), bounded(decimal))!
}

function bounded(decimal: Decimal): Decimal {
  if (Math.abs(decimal.scale) > scaleMax)
    throw unsupported(`a decimal of more than ${scaleMax} digits behind its point`)
  return decimal
}

/** With as many digits behind the point as the one that has more. */
export function aligned(a: Decimal, b: Decimal): { readonly a: bigint; readonly b: bigint; readonly scale: number } {
  const scale = Math.max(a.scale, b.scale)
  return {
    a: a.unscaled * 10n ** BigInt(scale - a.scale),
    b: b.unscaled * 10n ** BigInt(scale - b.scale),
    scale,
  }
}

export function isSameNumber(one: Decimal, other: Decimal): boolean {
  const { a, b } = aligned(bounded(one), bounded(other))
  return a === b
}

/** Towards zero. */
export function wholeOf({ unscaled, scale }: Decimal): bigint {
  return scale <= 0 ? unscaled * 10n ** BigInt(-scale) : unscaled / 10n ** BigInt(scale)
}

export function numberOf({ unscaled, scale }: Decimal): number {
  return Number(`${unscaled}e${-scale}`)
}

/** `BigDecimal.toString`: with an exponent where zeros would have to be added. */
export function decimalText({ unscaled, scale }: Decimal): string {
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString()
  const exponent = digits.length - 1 - scale
  const sign = unscaled < 0n ? '-' : ''
  if (scale === 0) return `${sign}${digits}`
  if (scale > 0 && exponent >= -6) {
    const padded = digits.padStart(scale + 1, '0')
    return `${sign}${padded.slice(0, -scale)}.${padded.slice(-scale)}`
  }
  const fraction = digits.length > 1 ? `.${digits.slice(1)}` : ''
  return `${sign}${digits[0]}${fraction}E${exponent < 0 ? '' : '+'}${exponent}`
}
