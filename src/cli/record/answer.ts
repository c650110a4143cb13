/** How answers about the record are printed: for people, and for programs as JSON, CSV or Parquet. */
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import type { Answer, RecordDatabase } from '../../archive/database.ts'
import type { Question } from '../../archive/who.ts'
import { RingfenceError } from '../../base/errors.ts'
import type { FittedTableOptions } from '../fitted-table.ts'
import { countOption } from '../options.ts'
import { isColoured, print, printAsIs, printJson } from '../output.ts'
import { widthOf } from '../screen.ts'
import { timeText } from '../time-words.ts'
import type { SaidRange } from './sources.ts'

export interface AnswerFlags {
  readonly output: 'table' | 'json' | 'csv' | 'parquet'
  readonly out?: string
  readonly limit?: number
}

/** Of a table, which a person reads. A program gets all, unless it says how many it wants. */
const tableLinesMax = 500

export function withAnswer(command: Command): Command {
  return command
    .addOption(
      new Option('-o, --output <format>', 'how to print').choices(['table', 'json', 'csv', 'parquet']).default('table'),
    )
    .option('--out <file>', 'where -o parquet writes')
    .addOption(countOption('--limit <count>', `lines at most (${tableLinesMax} in a table, else all)`))
}

/** The file that the answer is to become. @throws RingfenceError USAGE where it has no name */
export function writtenBy({ output, out }: AnswerFlags): string[] {
  if (output !== 'parquet') return []
  if (out === undefined) throw new RingfenceError('USAGE', '-o parquet needs --out <file>')
  return [resolve(out)]
}

/** What was answered, or how many rows were written. */
export interface Answered {
  readonly answer: Answer | number
  /** Where there were more lines: so many are here. */
  readonly cutAt: number | undefined
}

export async function answered(
  database: RecordDatabase,
  { sql, values }: Question,
  flags: AnswerFlags,
): Promise<Answered> {
  const limit = flags.limit ?? (flags.output === 'table' ? tableLinesMax : undefined)
  const cutAt = (count: number): number | undefined => (limit !== undefined && count > limit ? limit : undefined)
  const [written] = writtenBy(flags)
  if (written !== undefined) {
    const count = await database.save(sql, values, written, limit)
    return { answer: Math.min(count, limit ?? count), cutAt: cutAt(count) }
  }
  const { columns, rows } = await database.ask(sql, values, limit === undefined ? undefined : limit + 1)
  return { answer: { columns, rows: rows.slice(0, limit) }, cutAt: cutAt(rows.length) }
}

/** Whatever the format, it is said where lines were left out. @param text what people get */
export function showAnswer({ answer, cutAt }: Answered, flags: AnswerFlags, text: (answer: Answer) => string): void {
  if (typeof answer === 'number') print(`${answer} lines written to ${flags.out}`)
  else if (flags.output === 'json') printJson(answer.rows)
  else if (flags.output === 'csv') printAsIs(csvText(answer))
  else print(text(answer))
  if (cutAt !== undefined) {
    process.stderr.write(`only the first ${cutAt} lines are here: --limit ${cutAt * 10} gives more, -o csv all\n`)
  }
}

const widthMaxUsual = 80

/** As wide as the terminal. */
export function tableOptions(): FittedTableOptions {
  const { isTTY, columns: widthMax = widthMaxUsual } = process.stdout
  return isTTY ? { widthMax, color: isColoured() } : { widthMax: widthMaxUsual }
}

/** What an answer is about and of when, in one line where it has room. */
export function headLines(subject: string, { fromMs, toMs, zone }: SaidRange): string[] {
  const times = `${timeText(fromMs, zone)} to ${timeText(toMs, zone)}, ${zone}`
  const line = `${subject}: ${times}`
  return widthOf(line) <= (tableOptions().widthMax ?? widthMaxUsual) ? [line] : [`${subject}:`, times]
}

/** One value in a table for people. */
export function cellText(value: unknown): string {
  if (value === null || value === undefined) return '–'
  if (Array.isArray(value)) return value.map(String).join(', ')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

/** What a table of numbers would run as a formula. */
const formula = /^[=+\-@\t\r]/

/**
 * RFC 4180, a heading first. A text that a table of numbers would take for a formula has a `'` before it: names in the record are whatever
 * a stranger called them.
 */
export function csvText({ columns, rows }: Answer): string {
  const lines = [columns.map(csvCell), ...rows.map((row) => columns.map((column) => csvCell(row[column])))]
  return lines.map((cells) => `${cells.join(',')}\r\n`).join('')
}

function csvCell(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  const text = typeof value === 'string' ? value : listText(value)
  const safe = formula.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe
}

function listText(value: unknown): string {
  return Array.isArray(value) ? value.map(String).join(' ') : JSON.stringify(value)
}

/** The records of a CSV as they stand, the heading first: a line feed between quotes ends none. */
export function csvRecords(text: string): string[] {
  const records: string[] = []
  let start = 0
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') quoted = !quoted
    else if (text[at] === '\n' && !quoted) {
      records.push(text.slice(start, at).replace(/\r$/, ''))
      start = at + 1
    }
  }
  if (start < text.length) records.push(text.slice(start))
  return records
}
