/** Durations, and what they do with times (`cql3/Duration.java`, `TimeFcts.java`). */
import { native } from '../types.ts'
import { type Duration, decodeValue, encodeValue } from '../values.ts'
import { timeOf } from './compare.ts'
import { integral } from './integers.ts'
import { durationText } from './json.ts'
import { invalid, unsupported } from './unsupported.ts'

const dayMs = 86_400_000n
const milliNanos = 1_000_000n
/** 100 ns between 1582-10-15 and 1970-01-01. */
export const gregorianTicks = 122_192_928_000_000_000n
/** 1582-10-15: before it, Java reckons months by another calendar. */
const gregorianMs = -12_219_292_800_000n

type Part = 'months' | 'days' | 'nanoseconds'

/** In their order: the word, what it counts, and how many of them. */
const units: readonly (readonly [word: string, part: Part, count: bigint])[] = [
  ['y', 'months', 12n],
  ['mo', 'months', 1n],
  ['w', 'days', 7n],
  ['d', 'days', 1n],
  ['h', 'nanoseconds', 3_600_000_000_000n],
  ['m', 'nanoseconds', 60_000_000_000n],
  ['s', 'nanoseconds', 1_000_000_000n],
  ['ms', 'nanoseconds', milliNanos],
  ['us', 'nanoseconds', 1000n],
  ['ns', 'nanoseconds', 1n],
]

/** @throws RingfenceError INVALID for what is no duration, and for one that is too long */
export function durationOf(text: string): Duration {
  const negative = text.startsWith('-')
  const source = negative ? text.slice(1) : text
  const found: Record<Part, bigint> = { months: 0n, days: 0n, nanoseconds: 0n }
  let last = -1
  for (const [count, word] of wordsOf(source)) {
    const at = units.findIndex(([known]) => known === word)
    const unit = units[at]
    if (unit === undefined || at <= last) throw invalid('unable to convert the constant to a duration')
    last = at
    const [, part, each] = unit
    found[part] += BigInt(count) * each
    const bits = part === 'nanoseconds' ? 64 : 32
    if (BigInt.asIntN(bits, found[part]) !== found[part]) {
      throw invalid(`Invalid duration. The total number of ${part} must be less or equal to 2147483647`)
    }
  }
  if (last < 0) throw invalid('unable to convert the constant to a duration')
  const sign = negative ? -1n : 1n
  return {
    months: Number(sign * found.months),
    days: Number(sign * found.days),
    nanoseconds: sign * found.nanoseconds,
  }
}

/** Numbers with their units, as `1y2mo`, as ISO 8601 has them, or as in `P2020-01-02T03:04:05`. */
function wordsOf(source: string): readonly (readonly [count: string, word: string])[] {
  const alternative = /^P(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)$/.exec(source)
  if (alternative !== null) {
    return ['y', 'mo', 'd', 'h', 'm', 's'].map((word, i) => [alternative[i + 1]!, word] as const)
  }
  const iso = /^P((?:\d+[YMDW])*)(?:T((?:\d+[HMS])*))?$/.exec(source)
  if (iso !== null) {
    const [, days = '', times = ''] = iso
    return [...pairs(days.replaceAll('M', 'mo')), ...pairs(times)]
  }
  return /^(?:\d+[a-zµ]+)+$/i.test(source) ? pairs(source.replaceAll('µ', 'u')) : []
}

function pairs(text: string): (readonly [string, string])[] {
  return [...text.toLowerCase().matchAll(/(\d+)([a-z]+)/g)].map(([, count = '', word = '']) => [count, word] as const)
}

const durationType = native('duration')

function readDuration(bytes: Buffer): Duration {
  return decodeValue(durationType, bytes) as Duration
}

const isNegative = ({ months, days, nanoseconds }: Duration): boolean => months < 0 || days < 0 || nanoseconds < 0n

// --- milliseconds of times, and back

/** Of a timestamp, date or timeuuid that is not empty. */
export function millisecondsOf(kind: string, value: Buffer): bigint {
  if (kind === 'timeuuid') return (timeOf(value) - gregorianTicks) / 10_000n
  if (kind === 'date') return BigInt(decodeValue(native('date'), value) as number) * dayMs
  return value.readBigInt64BE(0)
}

/** Whole days by seconds, towards 1970 (`SimpleDateSerializer.timeInMillisToDay`). */
export function dateBytes(milliseconds: bigint): Buffer {
  const seconds = (milliseconds - (((milliseconds % 1000n) + 1000n) % 1000n)) / 1000n
  return encodeValue(native('date'), Number(BigInt.asIntN(32, seconds / 86_400n)))!
}

export function timestampBytes(milliseconds: bigint): Buffer {
  return integral('bigint', milliseconds)
}

/** The first or last of the UUIDs of a millisecond. */
export function boundUuid(milliseconds: bigint, first: boolean): Buffer {
  const ticks = (first ? milliseconds * 10_000n : (milliseconds + 1n) * 10_000n - 1n) + gregorianTicks
  const uuid = Buffer.alloc(16, first ? 0x80 : 0x7f)
  uuid.writeUInt32BE(Number(ticks & 0xffff_ffffn), 0)
  uuid.writeUInt16BE(Number((ticks >> 32n) & 0xffffn), 4)
  uuid.writeUInt16BE(Number((ticks >> 48n) & 0x0fffn) | 0x1000, 6)
  return uuid
}

// --- arithmetic

/** @param sign −1 takes the duration away */
export function plusDuration(kind: 'date' | 'timestamp', value: Buffer, by: Buffer, sign: 1 | -1): Buffer {
  const duration = readDuration(by)
  if (kind === 'date' && duration.nanoseconds !== 0n) {
    throw invalid(`The duration must have a day precision. Was: ${durationText(duration)}`)
  }
  const after = shifted(millisecondsOf(kind, value), {
    months: sign * duration.months,
    days: sign * duration.days,
    nanoseconds: BigInt(sign) * duration.nanoseconds,
  })
  return kind === 'date' ? dateBytes(after) : timestampBytes(after)
}

function shifted(milliseconds: bigint, { months, days, nanoseconds }: Duration): bigint {
  const plain = BigInt(days) * dayMs
  if (months === 0) return milliseconds + plain + nanoseconds / milliNanos
  // `Calendar.add` takes an int.
  return plusMonths(milliseconds, months) + plain + BigInt.asIntN(32, nanoseconds / milliNanos)
}

/** The same day of another month, or its last one. */
function plusMonths(milliseconds: bigint, months: number): bigint {
  const date = new Date(Number(milliseconds))
  const first = new Date(date)
  first.setUTCDate(1)
  first.setUTCMonth(first.getUTCMonth() + months)
  const lastDay = new Date(Date.UTC(2000, first.getUTCMonth() + 1, 0))
  lastDay.setUTCFullYear(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)
  first.setUTCDate(Math.min(date.getUTCDate(), lastDay.getUTCDate()))
  const after = first.getTime()
  if (Number.isNaN(after) || milliseconds < gregorianMs || BigInt(after) < gregorianMs) {
    throw unsupported('reckoning with months before 1582 or beyond the year 275760')
  }
  return BigInt(after)
}

// --- floor

/** Months and days together are counted back one by one. */
const floorStepsMax = 1000

/** Of a timestamp, timeuuid or date, counted from `start`. */
export function floorTime(kind: string, value: Buffer, by: Buffer, start: bigint): Buffer {
  const duration = readDuration(by)
  const asDate = kind === 'date'
  if (asDate && duration.nanoseconds !== 0n) {
    throw invalid('The floor on date values cannot be computed for a duration with a precision below 1 day')
  }
  if (duration.nanoseconds % milliNanos !== 0n) {
    throw invalid('The floor cannot be computed for a duration with a precision below 1 millisecond')
  }
  const floor = floorOf(millisecondsOf(kind, value), duration, start)
  return asDate ? dateBytes(floor) : timestampBytes(floor)
}

function floorOf(time: bigint, duration: Duration, start: bigint): bigint {
  if (start > time) throw invalid('The floor function starting time is greater than the provided time')
  refuseNegative(duration)
  const milliseconds = BigInt(duration.days) * dayMs + duration.nanoseconds / milliNanos
  if (duration.months === 0) return milliseconds === 0n ? time : time - ((time - start) % milliseconds)
  const [to, from] = [new Date(Number(time)), new Date(Number(start))]
  const months = (to.getUTCFullYear() - from.getUTCFullYear()) * 12 + (to.getUTCMonth() - from.getUTCMonth())
  if (Number.isNaN(months)) throw unsupported('reckoning with months beyond the year 275760')
  let times = Math.trunc(months / duration.months)
  let at = plusMonths(start, times * duration.months)
  if (milliseconds === 0n) return at
  let floor = at + BigInt(times) * milliseconds
  for (let steps = 0; floor > time; steps++) {
    if (steps === floorStepsMax) throw unsupported('a floor so many months and days from its start')
    times--
    at = plusMonths(at, -duration.months)
    floor = at + BigInt(times) * milliseconds
  }
  return floor > start ? floor : start
}

/** Of a time of the day. */
export function floorOfDay(value: Buffer, by: Buffer): Buffer {
  const { months, days, nanoseconds } = readDuration(by)
  refuseNegative({ months, days, nanoseconds })
  if (months !== 0 || days !== 0 || nanoseconds > 86_400_000_000_000n) {
    throw invalid('For time values, the floor can only be computed for durations smaller that a day')
  }
  const time = value.readBigInt64BE(0)
  return integral('bigint', nanoseconds === 0n ? time : time - (time % nanoseconds))
}

function refuseNegative(duration: Duration): void {
  if (isNegative(duration)) throw invalid('Negative durations are not supported by the floor function')
}
