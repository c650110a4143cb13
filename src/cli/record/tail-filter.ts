/** Which lines `audit tail` shows, and how it and `tap` show each to people. Lines come from files: nothing in them is believed to be what it should be. */

import { isNamed, touches } from '../../audit/named.ts'
import { printable } from '../output.ts'
import { cut, pad } from '../screen.ts'
import { pathOf } from '../traffic-table.ts'

export interface TailWanted {
  /** `*` stands for any letters; a part of the name's end is enough, from a `/` on. */
  readonly person?: string | undefined
  readonly workload?: string | undefined
  readonly keyspace?: string | undefined
  readonly table?: string | undefined
  readonly denied?: boolean | undefined
}

/** A line of the record, as JSON has it. */
export type Line = { readonly [field: string]: unknown }

/** Undefined for what is no line of the record. */
export function lineOf(text: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && typeof (value as Line).time === 'string'
      ? (value as Line)
      : undefined
  } catch {
    return undefined
  }
}

export function isWanted(line: Line, { person, workload, keyspace, table, denied }: TailWanted): boolean {
  if (person !== undefined && !isNamed(line.person, person)) return false
  if (workload !== undefined && !isNamed(line.workload, workload)) return false
  if (denied === true && line.verdict !== 'deny' && line.event !== 'log-in refused') return false
  return keyspace === undefined || touches(line, keyspace, table)
}

const colours: ReadonlyMap<unknown, string> = new Map([
  ['observe', '33'],
  ['deny', '31'],
  ['event', '33'],
])

export interface Shown {
  readonly zone: string
  /** Columns that there are. */
  readonly widthMax: number
  readonly color: boolean
}

export function shownLine(line: Line, { zone, widthMax, color }: Shown): string {
  const { proxy, seq, event, verdict, workload, person, operation, outcome, latencyMicros } = line
  const isEvent = typeof event === 'string'
  // What `tap` tells has no number; it says how long it took instead.
  const isRecorded = seq !== undefined
  const id = !isRecorded ? String(proxy) : `${String(proxy)}/${String(seq)}`
  const who = [person, typeof workload === 'string' ? pathOf(workload) : undefined].filter((name) => name !== undefined)
  const tables = Array.isArray(line.tables) ? line.tables.map(String).join(' ') : ''
  const took = typeof latencyMicros === 'number' && !isRecorded ? ` ${(latencyMicros / 1_000).toFixed(1)} ms` : ''
  const ended = took + (outcome === 'ok' ? '' : ` ${String(outcome)}`)
  const what = isEvent
    ? event
    : `${String(operation)} ${tables}${verdict === 'deny' ? ` by ${String(line.rule)}` : ended}`
  const parts = [
    clockOf(line.time, zone),
    pad(isEvent ? 'event' : String(verdict), 7),
    cut(id, 24),
    who.join(' '),
    what,
  ]
  const text = cut(parts.map((part) => printable(part)).join('  '), widthMax)
  const colour = colours.get(isEvent ? 'event' : verdict)
  return color && colour !== undefined ? `\u001b[${colour}m${text}\u001b[0m` : text
}

/** The same JSON in letters that are seen: it does nothing to a terminal. Outside its texts JSON has a tab and a line's end as blanks. */
export function jsonOf(text: string): string {
  return printable(text.replace(/[\t\r]/g, ' '))
}

/** `Sun 29 Nov 2026, Europe/Berlin`; undefined for what is no time. */
export function dayOf(time: string, zone: string): string | undefined {
  const at = zoned(time, zone)
  if (at === undefined) return undefined
  const day = at.toLocaleString('en-GB', { weekday: 'short', day: 'numeric', month: 'short' }).replace(',', '')
  return `${day} ${at.year}, ${zone}`
}

/** `14:02:07.123`. */
function clockOf(time: unknown, zone: string): string {
  return zoned(String(time), zone)?.toPlainTime().toString({ fractionalSecondDigits: 3 }) ?? '?'
}

function zoned(time: string, zone: string): Temporal.ZonedDateTime | undefined {
  const ms = Date.parse(time)
  return Number.isNaN(ms) ? undefined : Temporal.Instant.fromEpochMilliseconds(ms).toZonedDateTimeISO(zone)
}
