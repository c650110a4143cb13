/** What one request takes of each limit that concerns its statement, and what it is expected to answer. */
import { Consistency } from '../../cql/protocol.ts'
import type { StatementFacts } from '../../cql/statement/facts.ts'
import { type BaseOf, concernsStatement } from '../../policy/limits/rules.ts'
import { boundedWeight, manyPartitionsWeight, weightOf } from '../../policy/limits/weight.ts'
import type { Meter } from './parts.ts'
import type { SessionLimits } from './rate-limits.ts'

/** A statement's part in one limit. */
export interface Charge {
  readonly meter: Meter
  /** Of the statement, or of those of a BATCH that count, added up. */
  readonly requests: number
  /** How many of its statements count, and which part of all that is. */
  readonly statements: number
  readonly part: number
  readonly lists: readonly number[]
  readonly reads: boolean
  /** IF is a read and a write. */
  readonly conditional: boolean
}

/** Of a statement, under one policy and schema. */
export interface StatementCharges {
  readonly of: SessionLimits
  readonly epoch: number
  readonly charges: readonly Charge[]
  /** What its last answers had, smoothed: charged before the next answer is there. */
  rows: number
  bytes: number
}

/** What is known of a request, or expected of its answer. */
export interface Measured {
  readonly bytesIn: number
  readonly consistency: number
  /** Product of the sizes of bound IN lists. */
  readonly listFactor: number
  /** That a BATCH message writes to. */
  readonly partitions: number
}

/** Different statements of one BATCH that are looked at; further ones count for every limit of who asks. */
const childrenLookedAtMax = 1000
/** Keyspaces: a read unit is 4 KiB by LOCAL_QUORUM, half of one by ONE; a write unit is 1 KiB of one row. */
const readUnitBytes = 4096
const writeUnitBytes = 1024

export interface SchemaWords {
  readonly partitionKey: (facts: StatementFacts) => readonly string[] | undefined
  readonly baseOf: BaseOf
}

export function chargesOf(
  of: SessionLimits,
  facts: StatementFacts,
  epoch: number,
  schema: SchemaWords,
): StatementCharges {
  const charges: Charge[] = []
  for (const meter of of.meters) {
    const charge = facts.children.length > 0 ? ofBatch(meter, facts, schema) : ofOne(meter, facts, schema)
    if (charge !== undefined) charges.push(charge)
  }
  return { of, epoch, charges, rows: 0, bytes: 0 }
}

function ofOne(meter: Meter, facts: StatementFacts, { partitionKey, baseOf }: SchemaWords): Charge | undefined {
  if (!concernsStatement(meter.rule, facts, baseOf)) return undefined
  const { conditional, verb } = facts
  return {
    meter,
    ...weightOf(facts, partitionKey(facts)),
    statements: 1,
    part: 1,
    reads: verb === 'SELECT',
    conditional,
  }
}

function ofBatch(meter: Meter, facts: StatementFacts, { partitionKey, baseOf }: SchemaWords): Charge | undefined {
  const { children, conditional } = facts
  let childMarkers = 0
  for (const child of children) childMarkers += child.markers.length
  // Markers of a BATCH text; those of a message belong to its statements, and its partitions are counted.
  let firstMarker: number | undefined = facts.markers.length - childMarkers
  if (firstMarker < 0) firstMarker = undefined
  let requests = 0
  let statements = 0
  const lists: number[] = []
  const tables = new Set<string>()
  const known = new Map<StatementFacts, boolean>()
  for (const child of children) {
    let counts = known.get(child)
    if (counts === undefined) {
      counts = known.size >= childrenLookedAtMax || concernsStatement(meter.rule, child, baseOf)
      if (known.size < childrenLookedAtMax) known.set(child, counts)
    }
    if (counts) {
      const weight = weightOf(child, partitionKey(child), firstMarker)
      requests += weight.requests
      lists.push(...weight.lists)
      statements++
      tables.add(`${child.keyspace}.${child.table}`)
    }
    if (firstMarker !== undefined) firstMarker += child.markers.length
  }
  if (statements === 0) return undefined
  if (tables.size > 1 && firstMarker !== undefined) requests *= manyPartitionsWeight
  return { meter, requests: boundedWeight(requests), statements, part: statements / children.length, lists, reads: false, conditional }
}

/** Units that a request takes whose answer has so much. */
export function unitsOf(charge: Charge, request: Measured, rows: number, bytesOut: number): number {
  const { statements, part, reads, conditional, meter } = charge
  switch (meter.rule.unit) {
    case 'requests':
      return requestsOf(charge, request)
    case 'rows':
      return reads ? rows : requestsOf(charge, request)
    case 'bytes':
      return (request.bytesIn + bytesOut) * part
    case 'cost': {
      const weight = requestsOf(charge, request)
      if (!reads) return Math.max(weight, statements, Math.ceil((request.bytesIn * part) / writeUnitBytes))
      const whole = Math.max(weight, Math.ceil(bytesOut / readUnitBytes))
      return conditional || !isOfOne(request.consistency) ? whole : whole / 2
    }
  }
}

function requestsOf({ requests }: Charge, { listFactor, partitions }: Measured): number {
  const weight = requests * listFactor
  return boundedWeight(partitions <= 1 ? weight : Math.max(weight, partitions) * manyPartitionsWeight)
}

function isOfOne(consistency: number): boolean {
  return consistency === Consistency.ONE || consistency === Consistency.LOCAL_ONE
}

/** What was answered counts for what is expected of the next. */
export function learn(charges: StatementCharges, rows: number, bytesOut: number): void {
  charges.rows += (rows - charges.rows) / 4
  charges.bytes += (bytesOut - charges.bytes) / 4
}
