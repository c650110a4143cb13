/** What `latte run` writes, as far as the bench reads it, and the differences between paths. */
import { z } from 'zod'
import { type Column, median, medianRange, wordsForRange } from '../table.ts'

export interface PathFigures {
  readonly path: string
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly errors: number
}

/** From 1 on: paths of one round were measured one after another. */
export interface MeasuredPath extends PathFigures {
  readonly round: number
}

export interface PathSummary extends PathFigures {
  /** More than the direct path. Undefined for the direct path itself. */
  readonly addedP50Ms: Added | undefined
  readonly addedP99Ms: Added | undefined
}

/** Differences of each round: their median, and between which two the true one lies (95 %). */
export interface Added {
  readonly median: number
  readonly range: readonly [low: number, high: number] | undefined
}

const measure = z.object({ value: z.number() })
const reportSchema = z.object({
  percentiles: z.array(z.number()),
  result: z.object({
    error_count: z.number(),
    errors: z.array(z.string()),
    req_throughput: measure,
    /** From the sending of a request to its answer; milliseconds. */
    request_latency: z.object({ percentiles: z.array(measure) }),
  }),
})

/** @throws ZodError, SyntaxError, or Error for a report without these percentiles */
export function readReport(text: string): Omit<PathFigures, 'path'> {
  const { percentiles, result } = reportSchema.parse(JSON.parse(text))
  const at = (percentile: number): number => {
    const found = result.request_latency.percentiles[percentiles.indexOf(percentile)]
    if (found === undefined) throw new Error(`latte reported no percentile ${percentile}`)
    return found.value
  }
  return {
    perSecond: result.req_throughput.value,
    p50Ms: at(50),
    p99Ms: at(99),
    p999Ms: at(99.9),
    errors: result.error_count,
  }
}

/** Medians over the rounds, and what each path adds to `direct`. */
export function summariesOf(measured: readonly MeasuredPath[], direct: string): PathSummary[] {
  const paths = [...new Set(measured.map(({ path }) => path))]
  return paths.map((path) => {
    const rows = measured.filter((row) => row.path === path)
    const of = (pick: (row: MeasuredPath) => number): number => median(rows.map(pick))
    const added = (pick: (row: MeasuredPath) => number): Added | undefined => {
      const differences = rows.flatMap((row) => {
        const base = measured.find((other) => other.path === direct && other.round === row.round)
        return base === undefined ? [] : [pick(row) - pick(base)]
      })
      if (path === direct || differences.length === 0) return undefined
      return { median: median(differences), range: medianRange(differences) }
    }
    return {
      path,
      perSecond: of((row) => row.perSecond),
      p50Ms: of((row) => row.p50Ms),
      p99Ms: of((row) => row.p99Ms),
      p999Ms: of((row) => row.p999Ms),
      errors: rows.reduce((sum, row) => sum + row.errors, 0),
      addedP50Ms: added((row) => row.p50Ms),
      addedP99Ms: added((row) => row.p99Ms),
    }
  })
}

export const pathColumns: readonly Column<PathSummary>[] = [
  ['path', ({ path }) => path],
  ['requests/s', ({ perSecond }) => perSecond.toFixed(0)],
  ['p50 ms', ({ p50Ms }) => p50Ms.toFixed(2)],
  ['p99 ms', ({ p99Ms }) => p99Ms.toFixed(2)],
  ['p999 ms', ({ p999Ms }) => p999Ms.toFixed(2)],
  ['added p50 ms', ({ addedP50Ms }) => cellOf(addedP50Ms)],
  ['added p99 ms', ({ addedP99Ms }) => cellOf(addedP99Ms)],
  ['errors', ({ errors }) => String(errors)],
]

function cellOf(added: Added | undefined): string {
  if (added === undefined) return '—'
  const range = wordsForRange(added.range)
  return added.median.toFixed(2) + (range === undefined ? '' : ` (${range})`)
}
