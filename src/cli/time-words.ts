/**
 * Times as people say them: `last night`, `yesterday`, `since monday`, `2h`, `14:30`, `2026-11-29`, `2026-11-29T02:00:00Z`.
 *
 * Rule: a word means the same to whoever reads the answer. The zone is a parameter, and what was understood is said with it.
 */
import { RingfenceError } from '../base/errors.ts'

export interface SaidTime {
  readonly fromMs: number
  /** Where the words have an end of their own, as `yesterday`. */
  readonly toMs: number | undefined
}

/** A night is from here to there. */
const nightStartHour = 20
const nightEndHour = 6
const weekdays = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']
const unitMs: ReadonlyMap<string, number> = new Map([
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
  ['w', 7 * 86_400_000],
])

/** @throws RingfenceError USAGE for what is no time */
export function readTime(words: string, nowMs: number, zone: string): SaidTime {
  const text = words
    .trim()
    .toLowerCase()
    .replace(/\s+/g, ' ')
    .replace(/^since /, '')
    .replace(/ ago$/, '')
  const now = Temporal.Instant.fromEpochMilliseconds(nowMs).toZonedDateTimeISO(zone)
  const said =
    ofWord(text, now) ??
    ofWeekday(text, now) ??
    ofDuration(text, nowMs) ??
    ofClock(text, now) ??
    ofIso(words.trim(), zone)
  if (said !== undefined) return said
  throw new RingfenceError('USAGE', `no time: ${words}`, {
    hint: 'such as "last night", yesterday, "since monday", 2h, 14:30, 2026-11-29 or 2026-11-29T02:00:00Z',
  })
}

export function localZone(): string {
  return Temporal.Now.timeZoneId()
}

/** @throws RingfenceError USAGE */
export function readZone(name: string): string {
  try {
    return Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(name).timeZoneId
  } catch {
    throw new RingfenceError('USAGE', `no time zone: ${name}`, { hint: 'such as Europe/Berlin, UTC or +02:00' })
  }
}

/** `Sun 29 Nov 20:00`, in a zone that is said beside it; with the year where it isn't that of now. */
export function timeText(ms: number, zone: string, nowMs = Date.now()): string {
  const at = Temporal.Instant.fromEpochMilliseconds(ms).toZonedDateTimeISO(zone)
  const isOfNow = at.year === Temporal.Instant.fromEpochMilliseconds(nowMs).toZonedDateTimeISO(zone).year
  const day = at.toLocaleString('en-GB', { weekday: 'short', day: 'numeric', month: 'short' }).replace(',', '')
  return `${isOfNow ? day : `${day} ${at.year}`} ${String(at.hour).padStart(2, '0')}:${String(at.minute).padStart(2, '0')}`
}

function ofWord(text: string, now: Temporal.ZonedDateTime): SaidTime | undefined {
  const midnight = now.startOfDay()
  const yesterday = midnight.subtract({ days: 1 })
  if (text === 'now') return { fromMs: now.epochMilliseconds, toMs: undefined }
  if (text === 'today') return { fromMs: midnight.epochMilliseconds, toMs: undefined }
  if (text === 'yesterday') return { fromMs: yesterday.epochMilliseconds, toMs: midnight.epochMilliseconds }
  if (text === 'this morning') return { fromMs: atHour(midnight, nightEndHour), toMs: atHour(midnight, 12) }
  // Before its end the night is the one that is now.
  if (text === 'last night') return { fromMs: atHour(yesterday, nightStartHour), toMs: atHour(midnight, nightEndHour) }
  if (text === 'this week') return { fromMs: mondayOf(midnight).epochMilliseconds, toMs: undefined }
  if (text === 'last week') {
    const monday = mondayOf(midnight)
    return { fromMs: monday.subtract({ days: 7 }).epochMilliseconds, toMs: monday.epochMilliseconds }
  }
  return undefined
}

function mondayOf(midnight: Temporal.ZonedDateTime): Temporal.ZonedDateTime {
  return midnight.subtract({ days: midnight.dayOfWeek - 1 })
}

function atHour(day: Temporal.ZonedDateTime, hour: number): number {
  return day.withPlainTime({ hour }).epochMilliseconds
}

/** The last one, today where it is that day. */
function ofWeekday(text: string, now: Temporal.ZonedDateTime): SaidTime | undefined {
  const day = weekdays.indexOf(text.replace(/^last /, '')) + 1
  if (day === 0) return undefined
  const back = (now.dayOfWeek - day + 7) % 7
  const days = back === 0 && text.startsWith('last ') ? 7 : back
  return { fromMs: now.startOfDay().subtract({ days }).epochMilliseconds, toMs: undefined }
}

function ofDuration(text: string, nowMs: number): SaidTime | undefined {
  const parts = [...text.matchAll(/(\d+) ?(s|m|h|d|w)(?:ec|econds?|in|inutes?|ours?|ays?|eeks?)?(?![a-z]) ?/g)]
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) return undefined
  const back = parts.reduce((sum, [, count, unit = '']) => sum + Number(count) * unitMs.get(unit)!, 0)
  return { fromMs: nowMs - back, toMs: undefined }
}

/** Of today. */
function ofClock(text: string, now: Temporal.ZonedDateTime): SaidTime | undefined {
  const [, hour, minute] = /^(\d{1,2}):(\d{2})$/.exec(text) ?? []
  if (hour === undefined || Number(hour) > 23 || Number(minute) > 59) return undefined
  const at = now.withPlainTime({ hour: Number(hour), minute: Number(minute) })
  return { fromMs: at.epochMilliseconds, toMs: undefined }
}

const isoPlain = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)?$/i
const isoExact = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}(?::?\d{2})?)$/i

/** With an offset of its own, or in this zone. Of what has more behind it, Temporal would take the beginning and leave out the rest. */
function ofIso(text: string, zone: string): SaidTime | undefined {
  try {
    if (isoExact.test(text)) return { fromMs: Temporal.Instant.from(text).epochMilliseconds, toMs: undefined }
    if (!isoPlain.test(text)) return undefined
    const at = Temporal.PlainDateTime.from(text.replace(' ', 'T')).toZonedDateTime(zone)
    return { fromMs: at.epochMilliseconds, toMs: undefined }
  } catch {
    return undefined
  }
}
