/** What one request takes of each limit that concerns its statement, and what it is expected to answer. */
import { Consistency } from '../../cql/protocol.ts'
import type { StatementFacts } from '../../cql/statement/facts.ts'
import { type BaseOf, concernsStatement, type RateLimitRule } from '../../policy/limits/rules.ts'
import { boundedWeight, manyPartitionsWeight, weightOf } from '../../policy/limits/weight.ts'
import { type BatchKind, BatchKinds, type PartitionKeyOf } from './kinds.ts'
import type { SessionLimits } from './rate-limits.ts'

/** A statement's part in one limit. */
export interface Charge {
  readonly rule: RateLimitRule
  /** Of its meter in the meters of who asks, from the same list of rules. */
  readonly at: number
  /** Of the statement, or of those of a BATCH that count, added up. */
  readonly requests: number
  /** How many of its statements count, and which part of all that is. */
  readonly statements: number
  readonly part: number
  readonly lists: readonly number[]
  /** It is a BATCH that writes to several tables, so to several partitions. */
  readonly manyTables: boolean
  readonly reads: boolean
  /** IF is a read and a write. */
  readonly conditional: boolean
}

/** Of a statement, under one policy and schema. */
export interface StatementCharges {
  readonly of: SessionLimits['rules']
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

/** Keyspaces: a read unit is 4 KiB by LOCAL_QUORUM, half of one by ONE; a write unit is 1 KiB of one row. */
const readUnitBytes = 4096
const writeUnitBytes = 1024

export interface SchemaWords {
  readonly partitionKey: PartitionKeyOf
  readonly baseOf: BaseOf
}

/** @param counted of a BATCH, where its statements were weighed before */
export function chargesOf(
  of: SessionLimits['rules'],
  facts: StatementFacts,
  epoch: number,
  schema: SchemaWords,
  counted?: BatchKinds,
): StatementCharges {
  const charges: Charge[] = []
  const isBatch = facts.children.length > 0 && of.length > 0
  const kinds = isBatch ? (counted ?? new BatchKinds(facts, schema.partitionKey)).all : undefined
  for (const [at, rule] of of.entries()) {
    const taken = kinds === undefined ? ofOne(rule, facts, schema) : ofBatch(rule, facts, kinds, schema)
    if (taken !== undefined) charges.push({ rule, at, ...taken })
  }
  return { of, epoch, charges, rows: 0, bytes: 0 }
}

type Taken = Omit<Charge, 'rule' | 'at'>

function ofOne(rule: RateLimitRule, facts: StatementFacts, { partitionKey, baseOf }: SchemaWords): Taken | undefined {
  if (!concernsStatement(rule, facts, baseOf)) return undefined
  const { conditional, verb } = facts
  return {
    ...weightOf(facts, partitionKey(facts)),
    statements: 1,
    part: 1,
    manyTables: false,
    reads: verb === 'SELECT',
    conditional,
  }
}

function ofBatch(
  rule: RateLimitRule,
  { children, conditional }: StatementFacts,
  kinds: readonly BatchKind[],
  { baseOf }: SchemaWords,
): Taken | undefined {
  let requests = 0
  let statements = 0
  let manyTables = false
  const lists: number[] = []
  let first: StatementFacts | undefined
  for (const kind of kinds) {
    const { child } = kind
    if (child !== undefined && !concernsStatement(rule, child, baseOf)) continue
    requests += kind.requests
    statements += kind.statements
    for (const list of kind.lists) lists.push(list)
    if (child === undefined) continue
    first ??= child
    if (child.table !== first.table || child.keyspace !== first.keyspace) manyTables = true
  }
  if (statements === 0) return undefined
  const part = statements / children.length
  return { requests: boundedWeight(requests), statements, part, lists, manyTables, reads: false, conditional }
}

/** Units that a request takes whose answer has so much. */
export function unitsOf(charge: Charge, request: Measured, rows: number, bytesOut: number): number {
  const { statements, part, reads, conditional, rule } = charge
  switch (rule.unit) {
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

/** What it weighs where no list is bound and no partition is known. */
export function leastWeight(charge: Charge): number {
  return requestsOf(charge, { listFactor: 1, partitions: 1 })
}

type Sizes = Pick<Measured, 'listFactor' | 'partitions'>

function requestsOf({ requests, part, manyTables }: Charge, { listFactor, partitions }: Sizes): number {
  const weight = requests * listFactor
  // Of the partitions of a BATCH as many as it has statements that count.
  const own = part === 1 ? partitions : Math.ceil(partitions * part)
  return boundedWeight(own <= 1 && !manyTables ? weight : Math.max(weight, own) * manyPartitionsWeight)
}

function isOfOne(consistency: number): boolean {
  return consistency === Consistency.ONE || consistency === Consistency.LOCAL_ONE
}

/** What was answered counts for what is expected of the next. */
export function learn(charges: StatementCharges, rows: number, bytesOut: number): void {
  charges.rows += (rows - charges.rows) / 4
  charges.bytes += (bytesOut - charges.bytes) / 4
}
