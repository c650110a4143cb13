/**
 * Who is talking to Cassandra: traffic of the current interval, summed over equal keys. The fast path holds a row's handle and only adds.
 *
 * Rule: a workload has no more rows than there is room left for others. What it does beyond that is one row of its own.
 */

import { Counts } from '../base/counts.ts'
import { cutText } from '../base/text.ts'
import { type Buckets, Histogram } from './histogram.ts'

/** Longest names of a row, in UTF-16 units. What names them may be a statement that was refused, so what is given can be of any length. */
export const trafficTextMax = {
  workload: 2048,
  person: 2048,
  keyspace: 256,
  table: 256,
  operation: 64,
  rule: 512,
} as const

const cutFields = ['workload', 'person', 'keyspace', 'table', 'operation', 'rule'] as const

/** The row with its names cut to their bounds; itself where they fit. */
export function cutNames<T extends TrafficKey>(row: T): T {
  let cut = row
  for (const field of cutFields) {
    const given = row[field]
    if (given === undefined || (given.length <= trafficTextMax[field] && given.isWellFormed())) continue
    cut = { ...cut, [field]: cutText(given, trafficTextMax[field]) }
  }
  return cut
}

export interface TrafficKey {
  /** SPIFFE id. */
  readonly workload: string
  readonly person?: string | undefined
  readonly keyspace?: string | undefined
  readonly table?: string | undefined
  /** The statement's verb. */
  readonly operation: string
  readonly verdict: 'allow' | 'deny' | 'observe'
  readonly rule: string
}

export interface TrafficRow extends TrafficKey {
  readonly count: number
  readonly errors: number
  readonly p50Micros: number
  readonly p99Micros: number
  /** What both are taken from, to add up over processes and seconds. */
  readonly latency?: Buckets | undefined
}

interface Slot {
  readonly key: TrafficKey
  readonly mapKey: string
  readonly latency: Histogram
  errors: number
  idleDrains: number
}

/** All are read in one go, each second. */
const rowsUsualMax = 4_000

/** The row that takes what has no room, of a workload or of all. */
const overflowKey = (verdict: TrafficKey['verdict'], workload = '(others)'): TrafficKey => ({
  workload,
  person: undefined,
  keyspace: undefined,
  table: undefined,
  operation: '(any)',
  verdict,
  rule: '(any)',
})

export class TrafficTable {
  readonly #rowsMax: number
  /** Rows, and the two for what has no room. */
  readonly #capacity: number
  readonly #idleDrainsMax: number
  readonly #slots: (Slot | undefined)[] = []
  /** The handle that is good for a slot: generation × capacity + slot, so that a handle never means another row. */
  readonly #handles: Float64Array
  readonly #free: number[] = []
  readonly #byKey = new Map<string, number>()
  readonly #rowsOf = new Counts<string>()

  /** At most `rowsMax` rows; one that had no traffic for `idleDrainsMax` drains is given up. */
  constructor(options: { rowsMax?: number; idleDrainsMax?: number } = {}) {
    this.#rowsMax = options.rowsMax ?? rowsUsualMax
    this.#capacity = this.#rowsMax + 2
    this.#idleDrainsMax = options.idleDrainsMax ?? 60
    this.#handles = new Float64Array(this.#capacity)
    this.#open(overflowKey('allow'), '')
    this.#open(overflowKey('deny'), '')
  }

  /** Rows held, the two for what has no room not counted. */
  get size(): number {
    return this.#byKey.size
  }

  /** The handle of a key's row, for `record`. When the table is full: that of the row *(others)*. */
  row(key: TrafficKey): number {
    // Cut before anything is kept: a row lives longer than the statement that named it.
    const cut = cutNames(key)
    const known = this.#find(cut)
    if (known !== undefined) return known
    const { workload, verdict } = cut
    const own = this.#rowsOf.of(workload)
    const left = this.#rowsMax - this.#byKey.size
    if (left === 0) return this.#handles[verdict === 'deny' ? 1 : 0]!
    if (own <= left) return this.#add(cut)
    const others = overflowKey(verdict, workload)
    return this.#find(others) ?? this.#add(others)
  }

  #find(key: TrafficKey): number | undefined {
    return this.#byKey.get(mapKeyOf(key))
  }

  #add({ workload, person, keyspace, table, operation, verdict, rule }: TrafficKey): number {
    const key = { workload, person, keyspace, table, operation, verdict, rule }
    const mapKey = mapKeyOf(key)
    const handle = this.#open(key, mapKey)
    this.#byKey.set(mapKey, handle)
    this.#rowsOf.more(workload)
    return handle
  }

  /** Adds one transaction. False when the row was given up meanwhile: ask `row` again, and record there. */
  record(handle: number, micros: number, failed: boolean): boolean {
    const index = handle % this.#capacity
    if (this.#handles[index] !== handle) return false
    const slot = this.#slots[index]!
    slot.latency.record(micros)
    if (failed) slot.errors++
    return true
  }

  /** The rows that had traffic since the last drain, and begins the next interval. */
  drain(): TrafficRow[] {
    const rows: TrafficRow[] = []
    for (const [index, slot] of this.#slots.entries()) {
      if (slot === undefined) continue
      const { latency, key, errors } = slot
      if (latency.count === 0) {
        slot.idleDrains++
        if (slot.idleDrains >= this.#idleDrainsMax && slot.mapKey !== '') this.#giveUp(index, slot)
        continue
      }
      const [p50Micros, p99Micros] = [latency.percentile(50), latency.percentile(99)]
      rows.push({ ...key, count: latency.count, errors, p50Micros, p99Micros, latency: latency.buckets() })
      latency.reset()
      slot.errors = 0
      slot.idleDrains = 0
    }
    return rows
  }

  #open(key: TrafficKey, mapKey: string): number {
    const index = this.#free.pop() ?? this.#slots.length
    this.#slots[index] = { key, mapKey, latency: new Histogram(), errors: 0, idleDrains: 0 }
    const handle = this.#handles[index]! + this.#capacity + (this.#handles[index] === 0 ? index : 0)
    this.#handles[index] = handle
    return handle
  }

  #giveUp(index: number, slot: Slot): void {
    this.#byKey.delete(slot.mapKey)
    this.#rowsOf.less(slot.key.workload)
    this.#slots[index] = undefined
    // The next generation: handles given out for this slot stop being good at once.
    this.#handles[index] = this.#handles[index]! + this.#capacity
    this.#free.push(index)
  }
}

function mapKeyOf({ workload, person, keyspace, table, operation, verdict, rule }: TrafficKey): string {
  return JSON.stringify([workload, person, keyspace, table, operation, verdict, rule])
}
