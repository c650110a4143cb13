/** Who talked to Cassandra in the last minute, added up from the proxies' reports, one bucket a second. */
import type { TrafficRow } from '../mesh/traffic.ts'
import { keyOf, mergeTraffic } from '../mesh/traffic.ts'

export interface TrafficLine extends TrafficRow {
  /** Requests per second over the window. */
  readonly rate: number
}

const bucketsMax = 60

export class TrafficWindow {
  readonly #buckets: { readonly second: number; rows: readonly TrafficRow[] }[] = []

  add(rows: readonly TrafficRow[], nowMs: number): void {
    const second = Math.floor(nowMs / 1000)
    let bucket = this.#buckets.at(-1)
    if (bucket === undefined || bucket.second !== second) {
      bucket = { second, rows: [] }
      this.#buckets.push(bucket)
      while (this.#buckets[0] !== undefined && this.#buckets[0].second <= second - bucketsMax) this.#buckets.shift()
    }
    if (rows.length > 0) bucket.rows = mergeTraffic(bucket.rows, rows)
  }

  /** Busiest first; permitted lines before refused ones of the same count. */
  lines(nowMs: number, windowSeconds: number): TrafficLine[] {
    const seconds = Math.min(Math.max(1, windowSeconds), bucketsMax)
    const from = Math.floor(nowMs / 1000) - seconds
    const within = this.#buckets.filter(({ second }) => second > from)
    return mergeTraffic(...within.map(({ rows }) => rows))
      .map((row) => ({ ...row, rate: row.count / seconds }))
      .sort((a, b) => b.count - a.count || a.verdict.localeCompare(b.verdict) || keyOf(a).localeCompare(keyOf(b)))
  }
}
