/** Rows of figures: medians over the rounds, and the table that people read. */
import type { Load } from './loads.ts'

export interface Row {
  readonly system: string
  /** A load's name. */
  readonly load: string
  /** Of everything between client and stub; undefined for `direct`. */
  readonly cpuUsPerRequest: number | undefined
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  /** Of the same processes as the CPU, at the end of the load; undefined for `direct`. */
  readonly residentBytes: number | undefined
  readonly errors: number
}

/** From 1 on: rows of one round were measured beside one another. */
export interface MeasuredRow extends Row {
  readonly round: number
}

/** The middle one, or the mean of the two in the middle. NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/**
 * Between which two of the values the middle of all that could have been measured lies, with a certainty of 95 %: the exact interval of the
 * sign test, which asks nothing of how they are spread. Undefined of five or fewer.
 */
export function medianRange(values: readonly number[]): readonly [low: number, high: number] | undefined {
  const sorted = [...values].sort((a, b) => a - b)
  // Each value is above or below it as a coin falls: how many of the smallest may be left out until that is rarer than 1 in 40?
  let left = 0
  let chance = 0.5 ** sorted.length
  for (let rare = chance; rare <= 0.025; rare += chance) {
    chance *= (sorted.length - left) / (left + 1)
    left++
  }
  return left === 0 ? undefined : [sorted[left - 1]!, sorted[sorted.length - left]!]
}

/** Such as `0.46 to 0.60`; undefined stays so. */
export function wordsForRange(range: readonly [low: number, high: number] | undefined): string | undefined {
  return range?.map((end) => end.toFixed(2)).join(' to ')
}

/** One row for each system and load that was measured, by load and in the order of measuring; errors are added up. */
export function mediansOf(measured: readonly MeasuredRow[], loads: readonly Load[]): Row[] {
  return loads.flatMap(({ name }) => {
    const ofLoad = measured.filter((row) => row.load === name)
    const systems = [...new Set(ofLoad.map((row) => row.system))]
    return systems.map((system) => medianRow(ofLoad.filter((row) => row.system === system)))
  })
}

function medianRow(rows: readonly Row[]): Row {
  const of = (pick: (row: Row) => number): number => median(rows.map(pick))
  const ofSome = (pick: (row: Row) => number | undefined): number | undefined => {
    const values = rows.map(pick).filter((value) => value !== undefined)
    return values.length === 0 ? undefined : median(values)
  }
  return {
    system: rows[0]!.system,
    load: rows[0]!.load,
    cpuUsPerRequest: ofSome((row) => row.cpuUsPerRequest),
    perSecond: of((row) => row.perSecond),
    p50Ms: of((row) => row.p50Ms),
    p99Ms: of((row) => row.p99Ms),
    p999Ms: of((row) => row.p999Ms),
    residentBytes: ofSome((row) => row.residentBytes),
    errors: rows.reduce((sum, row) => sum + row.errors, 0),
  }
}

export type Column<T> = readonly [title: string, cell: (row: T) => string]

/** The first two are words, the others numbers. */
export const columns: readonly Column<Row>[] = [
  ['load', (row) => row.load],
  ['system', (row) => row.system],
  ['CPU µs/request', (row) => row.cpuUsPerRequest?.toFixed(2) ?? '—'],
  ['requests/s', (row) => row.perSecond.toFixed(0)],
  ['p50 ms', (row) => row.p50Ms.toFixed(2)],
  ['p99 ms', (row) => row.p99Ms.toFixed(2)],
  ['p999 ms', (row) => row.p999Ms.toFixed(2)],
  ['memory MB', (row) => (row.residentBytes === undefined ? '—' : (row.residentBytes / 1e6).toFixed(0))],
  ['errors', (row) => String(row.errors)],
]

/** One row in one line, as it is said while the rounds go on. */
export function lineOf(row: Row): string {
  return columns.map(([title, cell], index) => (index < 2 ? cell(row) : `${title} ${cell(row)}`)).join('  ')
}

/** Markdown as a formatter leaves it; the first `words` columns are words and stand on the left. */
export function tableOf<T>(of: readonly Column<T>[], rows: readonly T[], words = 2): string {
  const lines = of.map(([title, cell], index) => {
    const cells = [title, ...rows.map(cell)]
    const width = Math.max(...cells.map((text) => text.length))
    const pad = (text: string): string => (index < words ? text.padEnd(width) : text.padStart(width))
    const rule = index < words ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`
    return [title.padEnd(width), rule, ...rows.map((row) => pad(cell(row)))]
  })
  return lines[0]!.map((_, line) => `| ${lines.map((column) => column[line]).join(' | ')} |`).join('\n')
}

/** Each round begins with another one: at fixed places, first and last, one and the same commit differed by a tenth. */
export function rotated<T>(all: readonly T[], round: number): T[] {
  const first = round % all.length
  return [...all.slice(first), ...all.slice(0, first)]
}
