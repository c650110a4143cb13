/**
 * Requests, counted in one typed array: a row of it for each workload, group, keyspace, table, operation, verdict and rule.
 *
 * Rule: `record` adds numbers and does nothing else. There are at most so many rows, and a workload has no more than there is room left for
 * others: what it does beyond that is counted under `other`. A row that stood still is given up.
 */
import { Counts } from '../../base/counts.ts'
import { cutText } from '../../base/text.ts'
import { counter, type Family, gauge, type HistogramSample, type Labels, type Sample } from './family.ts'

export interface RequestLabels {
  /** SPIFFE id. */
  readonly workload: string
  /** Of the person behind it; empty where there is none, `none` where that one is in no group. */
  readonly personGroup: string
  readonly keyspace: string
  readonly table: string
  readonly operation: string
  readonly verdict: 'allow' | 'deny' | 'observe'
  readonly rule: string
}

/** Of a request that is over; the event of the record is one. */
export interface CountedRequest {
  readonly outcome: 'ok' | 'error' | 'lost'
  /** As answered; −1 where there are none. */
  readonly rows: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Of the node; 0 where it was not asked. */
  readonly latencyMicros: number
  /** In the mesh, before it left for the node. */
  readonly waitedMicros: number
}

const other = 'other'
const labelMax = 256
const seriesUsualMax = 1_000
const idleUsualMs = 600_000

/** Microseconds. Those that the conventions of OpenTelemetry advise for a database's client, and four below two milliseconds. */
const boundsMicros = [250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 10_000_000]
const boundsSeconds = boundsMicros.map((micros) => micros / 1e6)
const bucketCount = boundsMicros.length + 1

/** Where things stand in a row. */
const Column = {
  COUNT: 0,
  ERRORS: 1,
  ROWS: 2,
  RECEIVED: 3,
  SENT: 4,
  NODE_SUM: 5,
  WAIT_SUM: 6,
  NODE: 7,
  WAIT: 7 + bucketCount,
}
const rowLength = Column.WAIT + bucketCount

interface Row {
  readonly labels: RequestLabels
  readonly key: string
  readonly folded: boolean
  /** Its count when it was last looked at, and since when it is the same. */
  seen: number
  sinceMs: number
}

export interface RequestSeriesOptions {
  readonly seriesMax?: number
  readonly idleMs?: number
  readonly nowMs?: () => number
}

export class RequestSeries {
  readonly #max: number
  readonly #idleMs: number
  readonly #nowMs: () => number
  readonly #values: Float64Array
  /** The number that is good for a row: generation × capacity + place, so that a number never means another row. */
  readonly #numbers: Float64Array
  readonly #capacity: number
  readonly #rows: (Row | undefined)[] = []
  readonly #free: number[] = []
  readonly #byKey = new Map<string, number>()
  readonly #rowsOf = new Counts<string>()
  /** Requests in rows under `other` that were given up. */
  #foldedBefore = 0

  constructor({ seriesMax = seriesUsualMax, idleMs = idleUsualMs, nowMs = Date.now }: RequestSeriesOptions = {}) {
    this.#max = seriesMax
    this.#idleMs = idleMs
    this.#nowMs = nowMs
    // One row for each verdict that takes what has no room.
    this.#capacity = seriesMax + 3
    this.#values = new Float64Array(this.#capacity * rowLength)
    this.#numbers = new Float64Array(this.#capacity)
  }

  get size(): number {
    return this.#byKey.size
  }

  /** The number of the row for these labels, for `record`. */
  numberOf(given: RequestLabels): number {
    const labels = cutLabels(given)
    const known = this.#byKey.get(keyOf(labels))
    if (known !== undefined) return known
    const own = this.#rowsOf.of(labels.workload)
    const left = this.#max - this.#byKey.size
    if (own <= left && left > 0) return this.#open(labels, false)
    const { workload, verdict } = labels
    const ofWorkload = foldedLabels(workload, verdict)
    const theirs = this.#byKey.get(keyOf(ofWorkload))
    if (theirs !== undefined) return theirs
    // Its own rest has a row while others have room too.
    if (own > 0 && left > 0) return this.#open(ofWorkload, true)
    const rest = foldedLabels(other, verdict)
    return this.#byKey.get(keyOf(rest)) ?? this.#open(rest, true)
  }

  /** False where that row was given up: ask for its number again. */
  record(number: number, request: CountedRequest): boolean {
    const place = number % this.#capacity
    if (this.#numbers[place] !== number) return false
    const { outcome, rows, bytesIn, bytesOut, latencyMicros, waitedMicros } = request
    const values = this.#values
    const at = place * rowLength
    values[at]!++
    if (outcome !== 'ok') values[at + Column.ERRORS]!++
    if (rows > 0) values[at + Column.ROWS]! += rows
    values[at + Column.RECEIVED]! += bytesIn
    values[at + Column.SENT]! += bytesOut
    if (latencyMicros <= 0) return true
    values[at + Column.NODE_SUM]! += latencyMicros
    values[at + Column.NODE + bucketOf(latencyMicros)]!++
    values[at + Column.WAIT_SUM]! += waitedMicros
    values[at + Column.WAIT + bucketOf(waitedMicros)]!++
    return true
  }

  families(): Family[] {
    this.#giveUpIdle()
    const held = [...this.#held()]
    const column = (of: number): Sample[] =>
      held
        .map(({ row, at }) => ({ labels: shownLabels(row.labels), value: this.#values[at + of]! }))
        .filter(({ value }) => of === Column.COUNT || value > 0)
    const folded = held.reduce((sum, { row, at }) => sum + (row.folded ? this.#values[at]! : 0), this.#foldedBefore)
    return [
      counter('ringfence_requests', 'Requests by who asked for what, and what was decided.', column(Column.COUNT)),
      counter('ringfence_request_errors', 'Of those, answered with an error or not at all.', column(Column.ERRORS)),
      counter('ringfence_request_rows', 'Rows that were answered.', column(Column.ROWS)),
      counter('ringfence_request_received_bytes', 'Bytes of requests.', column(Column.RECEIVED)),
      counter('ringfence_request_sent_bytes', 'Bytes of answers.', column(Column.SENT)),
      {
        type: 'histogram',
        name: 'db_client_operation_duration_seconds',
        help: 'How long the node took.',
        bounds: boundsSeconds,
        samples: this.#histogram(held, Column.NODE_SUM, Column.NODE, { db_system_name: 'cassandra' }),
      },
      {
        type: 'histogram',
        name: 'ringfence_request_wait_seconds',
        help: 'How long requests waited in the mesh before they left for the node.',
        bounds: boundsSeconds,
        samples: this.#histogram(held, Column.WAIT_SUM, Column.WAIT, {}),
      },
      counter('ringfence_metrics_folded', 'Requests that are counted under "other", for want of room.', folded),
      gauge('ringfence_metrics_series', 'Rows of request metrics in use.', this.#byKey.size, 'max'),
      gauge('ringfence_metrics_series_limit', 'Rows of request metrics that there may be.', this.#max, 'max'),
    ]
  }

  /** By workload and operation: a histogram for each row would be too many lines. */
  #histogram(held: readonly Held[], sumAt: number, bucketsAt: number, more: Labels): HistogramSample[] {
    const samples = new Map<string, { labels: Labels; buckets: number[]; sum: number }>()
    for (const { row, at } of held) {
      const { workload, operation } = row.labels
      const key = JSON.stringify([workload, operation])
      let sample = samples.get(key)
      if (sample === undefined) {
        const labels = { ...more, workload, db_operation_name: operation }
        sample = { labels, buckets: new Array<number>(bucketCount).fill(0), sum: 0 }
        samples.set(key, sample)
      }
      sample.sum += this.#values[at + sumAt]! / 1e6
      for (let bucket = 0; bucket < bucketCount; bucket++)
        sample.buckets[bucket]! += this.#values[at + bucketsAt + bucket]!
    }
    return [...samples.values()].filter(({ buckets }) => buckets.some((count) => count > 0))
  }

  *#held(): Generator<Held> {
    for (const [place, row] of this.#rows.entries()) if (row !== undefined) yield { row, at: place * rowLength }
  }

  #open(labels: RequestLabels, folded: boolean): number {
    const key = keyOf(labels)
    const place = this.#free.pop() ?? this.#rows.length
    const before = this.#numbers[place]!
    const number = before === 0 ? this.#capacity + place : before + this.#capacity
    this.#numbers[place] = number
    this.#values.fill(0, place * rowLength, (place + 1) * rowLength)
    this.#rows[place] = { labels, key, folded, seen: 0, sinceMs: this.#nowMs() }
    this.#byKey.set(key, number)
    this.#rowsOf.more(labels.workload)
    return number
  }

  #giveUpIdle(): void {
    const nowMs = this.#nowMs()
    for (const [place, row] of this.#rows.entries()) {
      if (row === undefined) continue
      const count = this.#values[place * rowLength]!
      if (count !== row.seen) {
        row.seen = count
        row.sinceMs = nowMs
      } else if (nowMs - row.sinceMs >= this.#idleMs) {
        if (row.folded) this.#foldedBefore += count
        this.#rows[place] = undefined
        this.#byKey.delete(row.key)
        this.#rowsOf.less(row.labels.workload)
        // The next generation: numbers given out for this place stop being good at once.
        this.#numbers[place]! += this.#capacity
        this.#free.push(place)
      }
    }
  }
}

interface Held {
  readonly row: Row
  readonly at: number
}

function bucketOf(micros: number): number {
  let bucket = 0
  while (bucket < boundsMicros.length && micros > boundsMicros[bucket]!) bucket++
  return bucket
}

function foldedLabels(workload: string, verdict: RequestLabels['verdict']): RequestLabels {
  return { workload, personGroup: other, keyspace: other, table: other, operation: other, verdict, rule: other }
}

function cutLabels({ workload, personGroup, keyspace, table, operation, verdict, rule }: RequestLabels): RequestLabels {
  return {
    workload: cutText(workload, labelMax),
    personGroup: cutText(personGroup, labelMax),
    keyspace: cutText(keyspace, labelMax),
    table: cutText(table, labelMax),
    operation: cutText(operation, labelMax),
    verdict,
    rule: cutText(rule, labelMax),
  }
}

function keyOf({ workload, personGroup, keyspace, table, operation, verdict, rule }: RequestLabels): string {
  return JSON.stringify([workload, personGroup, keyspace, table, operation, verdict, rule])
}

/** The database's own things by the names of OpenTelemetry's conventions. */
function shownLabels({ workload, personGroup, keyspace, table, operation, verdict, rule }: RequestLabels): Labels {
  return {
    workload,
    person_group: personGroup,
    db_namespace: keyspace,
    db_collection_name: table,
    db_operation_name: operation,
    verdict,
    rule,
  }
}
