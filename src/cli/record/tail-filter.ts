/** Which lines `audit tail` shows, and how each is shown to people. Lines come from files: nothing in them is believed to be what it should be. */

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

/** As `who` reads names. */
function isNamed(value: unknown, name: string): boolean {
  if (typeof value !== 'string') return false
  const starts = [0, ...[...value.matchAll(/\//g)].map(({ index }) => index + 1)]
  return starts.some((start) => isLike(value.slice(start), name.split('*')))
}

/** Without a regular expression of somebody's making: a name is matched part by part. */
function isLike(text: string, parts: readonly string[]): boolean {
  const [first = '', ...rest] = parts
  if (!text.startsWith(first)) return false
  const last = rest.pop()
  if (last === undefined) return text === first
  let at = first.length
  for (const part of rest) {
    const found = text.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return text.length - last.length >= at && text.endsWith(last)
}

function touches({ keyspace, table, tables }: Line, wantedKeyspace: string, wantedTable: string | undefined): boolean {
  if (keyspace === wantedKeyspace && (wantedTable === undefined || table === wantedTable)) return true
  if (!Array.isArray(tables)) return false
  const starts = [wantedKeyspace, inQuotes(wantedKeyspace)].map((name) => `${name}.`)
  return tables.some((each) => {
    const start = starts.find((one) => String(each).startsWith(one))
    if (start === undefined) return false
    const rest = String(each).slice(start.length)
    return wantedTable === undefined || rest === wantedTable || rest === inQuotes(wantedTable)
  })
}

function inQuotes(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

const colours: ReadonlyMap<unknown, string> = new Map([
  ['observe', '33'],
  ['deny', '31'],
  ['event', '33'],
])

/** In as many columns as there are. */
export function shownLine(line: Line, zone: string, widthMax: number, color: boolean): string {
  const { proxy, seq, event, verdict, workload, person, operation, outcome } = line
  const isEvent = typeof event === 'string'
  const id = `${String(proxy)}/${String(seq)}`
  const who = [person, typeof workload === 'string' ? pathOf(workload) : undefined].filter((name) => name !== undefined)
  const tables = Array.isArray(line.tables) ? line.tables.map(String).join(' ') : ''
  const ended = outcome === 'ok' ? '' : ` ${String(outcome)}`
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

/** `14:02:07.123`. */
function clockOf(time: unknown, zone: string): string {
  const ms = Date.parse(String(time))
  if (Number.isNaN(ms)) return '?'
  return Temporal.Instant.fromEpochMilliseconds(ms)
    .toZonedDateTimeISO(zone)
    .toPlainTime()
    .toString({ fractionalSecondDigits: 3 })
}
