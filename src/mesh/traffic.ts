/** Adds traffic rows up, for reports of several workers and for rows that could not be sent yet. */
import { z } from 'zod'
import { bucketsMax, Histogram } from '../telemetry/histogram.ts'
import { cutNames, type TrafficRow, trafficTextMax } from '../telemetry/traffic.ts'

export type { TrafficRow }

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
  latency: z
    .array(z.int().nonnegative())
    .max(2 * bucketsMax)
    .readonly()
    .optional(),
})

/** Rows beyond this are added up into one with the operation `OTHER`. */
export const trafficRowsMax = 2_000

/** Rows that take what has no room: one for each verdict. */
const otherRows = 3

/**
 * One row for each key, names cut to their bounds, at most `trafficRowsMax`. What is beyond goes into rows with the operation `OTHER`. p50
 * and p99 come from the sum of the buckets, because the median of a sum can't be computed from medians.
 */
export function mergeTraffic(...lists: (readonly TrafficRow[])[]): TrafficRow[] {
  return mergeWithin(trafficRowsMax - otherRows, lists)
}

/** The first `rowsMax` rows apart, the others added up. */
export function foldTraffic(list: readonly TrafficRow[], rowsMax: number): TrafficRow[] {
  return mergeWithin(rowsMax, [list])
}

function mergeWithin(rowsMax: number, lists: readonly (readonly TrafficRow[])[]): TrafficRow[] {
  const sums = new Map<string, Sum>()
  for (const list of lists) {
    for (const given of list) {
      let row = cutNames(given)
      let key = keyOf(row)
      if (!sums.has(key) && sums.size >= rowsMax) {
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
      const sum = sums.get(key)
      if (sum === undefined) sums.set(key, new Sum(row))
      else sum.add(row)
    }
  }
  return Array.from(sums.values(), (sum) => sum.row())
}

export function keyOf(row: TrafficRow): string {
  const { workload, person = null, keyspace = null, table = null, operation, verdict, rule } = row
  return JSON.stringify([workload, person, keyspace, table, operation, verdict, rule])
}

/** Rows of one key. A row that is alone stays as it is. */
class Sum {
  readonly #first: TrafficRow
  #count: number
  #errors: number
  #latency: Histogram | undefined

  constructor(first: TrafficRow) {
    this.#first = first
    this.#count = first.count
    this.#errors = first.errors
  }

  add(row: TrafficRow): void {
    if (this.#latency === undefined) {
      this.#latency = new Histogram()
      addTo(this.#latency, this.#first)
    }
    addTo(this.#latency, row)
    this.#count += row.count
    this.#errors += row.errors
  }

  row(): TrafficRow {
    const latency = this.#latency
    if (latency === undefined) return this.#first
    return {
      ...this.#first,
      count: this.#count,
      errors: this.#errors,
      p50Micros: latency.percentile(50),
      p99Micros: latency.percentile(99),
      latency: latency.buckets(),
    }
  }
}

/** Without buckets a hundredth of the requests took what the slowest hundredth took at least, and the others the median. */
function addTo(latency: Histogram, { count, p50Micros, p99Micros, latency: buckets }: TrafficRow): void {
  if (buckets !== undefined) {
    latency.add(buckets)
    return
  }
  const slow = count > 1 ? Math.max(1, Math.floor(count / 100)) : 0
  latency.recordMany(p50Micros, count - slow)
  latency.recordMany(p99Micros, slow)
}
