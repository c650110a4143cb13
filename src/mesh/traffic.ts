/** Adds traffic rows up, for reports of several workers and for rows that could not be sent yet. */
import { z } from 'zod'
import { cutNames, trafficTextMax } from '../telemetry/traffic.ts'

/** One line of *who is talking to Cassandra*: everything since the last report, summed over equal keys. */
export const trafficRow = z.object({
  workload: z.string().max(trafficTextMax.workload),
  person: z.string().max(trafficTextMax.person).optional(),
  keyspace: z.string().max(trafficTextMax.keyspace).optional(),
  table: z.string().max(trafficTextMax.table).optional(),
  operation: z.string().max(trafficTextMax.operation),
  verdict: z.enum(['allow', 'deny', 'observe']),
  rule: z.string().max(trafficTextMax.rule),
  count: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  p50Micros: z.number().nonnegative(),
  p99Micros: z.number().nonnegative(),
})

export interface TrafficRow {
  readonly workload: string
  readonly person?: string | undefined
  readonly keyspace?: string | undefined
  readonly table?: string | undefined
  readonly operation: string
  readonly verdict: 'allow' | 'deny' | 'observe'
  readonly rule: string
  readonly count: number
  readonly errors: number
  readonly p50Micros: number
  readonly p99Micros: number
}

/** Rows beyond this are added up into one with the operation `OTHER`. */
export const trafficRowsMax = 2_000

/** Rows that take what has no room: one for each verdict. */
const otherRows = 3

/**
 * One row for each key, names cut to their bounds, at most `trafficRowsMax`; what is beyond goes into rows with the operation `OTHER`.
 * p50 is a mean weighted by count, p99 the greatest: medians of sums are not to be had from medians.
 */
export function mergeTraffic(...lists: (readonly TrafficRow[])[]): TrafficRow[] {
  return mergeWithin(trafficRowsMax - otherRows, lists)
}

/** The first `rowsMax` rows apart, the others added up. */
export function foldTraffic(list: readonly TrafficRow[], rowsMax: number): TrafficRow[] {
  return mergeWithin(rowsMax, [list])
}

function mergeWithin(rowsMax: number, lists: readonly (readonly TrafficRow[])[]): TrafficRow[] {
  const rows = new Map<string, TrafficRow>()
  for (const list of lists) {
    for (const given of list) {
      let row = cutNames(given)
      let key = keyOf(row)
      if (!rows.has(key) && rows.size >= rowsMax) {
        row = {
          ...row,
          workload: '*',
          person: undefined,
          keyspace: undefined,
          table: undefined,
          operation: 'OTHER',
          rule: '*',
        }
        key = keyOf(row)
      }
      const before = rows.get(key)
      rows.set(key, before === undefined ? row : sumOf(before, row))
    }
  }
  return [...rows.values()]
}

export function keyOf(row: TrafficRow): string {
  const { workload, person = null, keyspace = null, table = null, operation, verdict, rule } = row
  return JSON.stringify([workload, person, keyspace, table, operation, verdict, rule])
}

function sumOf(a: TrafficRow, b: TrafficRow): TrafficRow {
  const count = a.count + b.count
  const weighted = a.p50Micros * a.count + b.p50Micros * b.count
  return {
    ...a,
    count,
    errors: a.errors + b.errors,
    p50Micros: count === 0 ? 0 : Math.round(weighted / count),
    p99Micros: Math.max(a.p99Micros, b.p99Micros),
  }
}
