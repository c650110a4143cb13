/** Values as Cassandra writes them in JSON (`AbstractType.toJSONString`), byte for byte. */
import { BodyReader } from '../reader.ts'
import type { CqlType } from '../types.ts'
import { type Decimal, type Duration, decodeValue } from '../values.ts'
import { decimalText } from './decimals.ts'
import { unsupported } from './unsupported.ts'

/** Of a value that is not null. */
export function jsonOf(type: CqlType, bytes: Buffer): string {
  switch (type.kind) {
    case 'ascii':
    case 'text':
      return jsonString(decodeValue(type, bytes) as string)
    case 'blob':
    case 'custom':
      return `"0x${bytes.toString('hex')}"`
    case 'list':
    case 'set': {
      const reader = new BodyReader().reset(bytes, 0, bytes.length)
      const items: string[] = []
      for (let i = reader.int(); i > 0; i--) items.push(jsonOrNull(type.element, reader.bytes()))
      return `[${items.join(', ')}]`
    }
    case 'map': {
      const reader = new BodyReader().reset(bytes, 0, bytes.length)
      const entries: string[] = []
      for (let i = reader.int(); i > 0; i--) {
        const key = jsonOrNull(type.key, reader.bytes())
        const value = jsonOrNull(type.value, reader.bytes())
        entries.push(`${key.startsWith('"') ? key : jsonString(key)}: ${value}`)
      }
      return `{${entries.join(', ')}}`
    }
    case 'tuple': {
      const reader = new BodyReader().reset(bytes, 0, bytes.length)
      const items = type.elements.map((element) =>
        reader.remaining === 0 ? 'null' : jsonOrNull(element, reader.bytes()),
      )
      return `[${items.join(', ')}]`
    }
    default:
  }
  if (bytes.length === 0) return '""'
  const value = decodeValue(type, bytes)
  switch (type.kind) {
    case 'boolean':
    case 'tinyint':
    case 'smallint':
    case 'int':
    case 'bigint':
    case 'counter':
    case 'varint':
      return String(value)
    case 'float':
      return Number.isFinite(value) ? javaFloat(value as number) : 'null'
    case 'double':
      return Number.isFinite(value) ? javaDouble(value as number) : 'null'
    case 'decimal':
      return decimalText(value as Decimal)
    case 'timestamp':
      return `"${timestampText(value as bigint)}"`
    case 'date':
      return `"${dateText(value as number)}"`
    case 'time':
      return `"${timeText(value as bigint)}"`
    case 'duration':
      return `"${durationText(value as Duration)}"`
    case 'uuid':
    case 'timeuuid':
    case 'inet':
      return `"${String(value)}"`
    default:
      throw unsupported(`JSON of type ${type.kind}`)
  }
}

function jsonOrNull(type: CqlType, bytes: Buffer | null): string {
  return bytes === null ? 'null' : jsonOf(type, bytes)
}

const escapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
}

/** As Jackson's `JsonStringEncoder` does: nothing beyond ASCII is escaped. */
function jsonString(text: string): string {
  const quoted = text.replace(/["\\\u0000-\u001f]/g, (one) => {
    return escapes[one] ?? `\\u${one.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`
  })
  return `"${quoted}"`
}

/** A column's name as the key of a row: in quotes of its own where it is not in lower case. */
export function jsonName(name: string): string {
  return jsonString(name === name.toLowerCase() ? name : `"${name}"`)
}

/** `Double.toString`: with a point always, and with E from 10^7 and below 10^-3. */
export function javaDouble(value: number): string {
  return javaNumber(value, String(Math.abs(value)))
}

/** `Float.toString`: the shortest text that gives this float again. */
export function javaFloat(value: number): string {
  const magnitude = Math.abs(value)
  for (let digits = 1; digits <= 9; digits++) {
    const text = magnitude.toPrecision(digits)
    if (Math.fround(Number(text)) === magnitude) return javaNumber(value, String(Number(text)))
  }
  return javaNumber(value, String(magnitude))
}

/** `text`: the magnitude, shortest, as JavaScript writes it. */
function javaNumber(value: number, text: string): string {
  const sign = value < 0 || Object.is(value, -0) ? '-' : ''
  const [mantissa = '0', exponentText = '0'] = text.split('e')
  const [whole = '0', fraction = ''] = mantissa.split('.')
  const all = `${whole}${fraction}`
  const firstAt = all.search(/[1-9]/)
  if (firstAt < 0) return `${sign}0.0`
  // The value is 0.d1d2d3… × 10^point.
  const point = whole.length + Number(exponentText) - firstAt
  const digits = all.slice(firstAt).replace(/0+$/, '')
  if (point > 7 || point < -2) return `${sign}${digits[0]}.${digits.slice(1) || '0'}E${point - 1}`
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`
  return `${sign}${digits.slice(0, point).padEnd(point, '0')}.${digits.slice(point) || '0'}`
}

export function timestampText(milliseconds: bigint): string {
  const rest = ((milliseconds % dayMs) + dayMs) % dayMs
  const time = timeText(rest * 1_000_000n).slice(0, 12)
  return `${dateText(Number((milliseconds - rest) / dayMs))} ${time}Z`
}

const dayMs = 86_400_000n

/** Days since 1970 in the Gregorian calendar, also where JavaScript has no dates any more: dropped_time may be of the year 294247. */
export function dateText(days: number): string {
  // Years begin in March here, so that the leap day is the last one; 146,097 days are 400 years.
  const shifted = days + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const march = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * march + 2) / 5) + 1
  const month = march < 10 ? march + 3 : march - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  const digits = String(Math.abs(year)).padStart(4, '0')
  const sign = year < 0 ? '-' : year > 9999 ? '+' : ''
  return `${sign}${digits}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`
}

export function timeText(nanoseconds: bigint): string {
  const two = (value: bigint): string => value.toString().padStart(2, '0')
  const seconds = nanoseconds / 1_000_000_000n
  const rest = (nanoseconds % 1_000_000_000n).toString().padStart(9, '0')
  return `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}.${rest}`
}

export function durationText({ months, days, nanoseconds }: Duration): string {
  const negative = months < 0 || days < 0 || nanoseconds < 0n
  let text = negative ? '-' : ''
  const append = (value: bigint, unit: bigint, word: string): bigint => {
    if (value / unit > 0n) text += `${value / unit}${word}`
    return value % unit
  }
  append(append(BigInt(Math.abs(months)), 12n, 'y'), 1n, 'mo')
  append(BigInt(Math.abs(days)), 1n, 'd')
  let rest = nanoseconds < 0n ? -nanoseconds : nanoseconds
  for (const [unit, word] of [
    [3_600_000_000_000n, 'h'],
    [60_000_000_000n, 'm'],
    [1_000_000_000n, 's'],
    [1_000_000n, 'ms'],
    [1_000n, 'us'],
    [1n, 'ns'],
  ] as const) {
    rest = append(rest, unit, word)
  }
  return text
}
