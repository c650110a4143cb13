/**
 * One statement against the data rules. They bind everyone, are asked after the rules on who may do what, and can only take away.
 */
import type { Access, Resource, StatementFacts } from '../../cql/statement/facts.ts'
import type { Steps } from '../pace.ts'
import type { Party } from '../principal.ts'
import type { SchemaView, TableInfo } from '../request.ts'
import { judgeClasses } from './classes.ts'
import type { DataVerdict } from './findings.ts'
import { Findings } from './findings.ts'
import {
  judgeLists,
  judgePartitions,
  judgeRead,
  judgeTimestamp,
  type PartitionsWritten,
  partitionsWritten,
  timestampBoundsOf,
} from './guardrails.ts'
import { judgeMasks } from './masking.ts'
import { judgeKeyspaceDrop, judgeRowLife, judgeTableLife } from './retention.ts'
import type { DataRules, TableRules, TimestampBounds } from './rules.ts'

/** Statements of a BATCH between two looks at the clock. */
const childrenAStep = 16

/** One of those who ask. What a mask hides of any of them is hidden. */
export interface Asker {
  readonly party: Party
  /** Whether the rules give it an access; asked for UNMASK. */
  readonly may: (access: Access) => boolean
}

export interface DataQuestion {
  readonly askers: readonly Asker[]
  /**
   * Resolved and refined: with SCAN accesses. A BATCH has its statements in `children`; one whose own `markers` do not hold those of its
   * children is a BATCH message, and what its statements bind is asked of each apart.
   */
  readonly facts: StatementFacts
  /** Undefined only where a policy is tried without a cluster: then names are taken as they are, and no table has a default TTL. */
  readonly schema: SchemaView | undefined
}

/** A statement may have thousands of columns, and a BATCH thousands of statements. */
export function* evaluateInSteps(rules: DataRules, question: DataQuestion): Steps<DataVerdict> {
  const findings = new Findings()
  const { facts, schema } = question
  const { verb, keyspace, table } = facts
  if (verb === 'BATCH') return yield* judgeBatch(findings, rules, question)
  judgeClasses(findings, rules, facts)
  if (verb === 'DROP KEYSPACE' && keyspace !== undefined) {
    judgeKeyspaceDrop(findings, rules.holdsIn(keyspace), keyspace)
    return findings.bareVerdict()
  }
  if (keyspace === undefined || table === undefined) return findings.bareVerdict()
  const info = tableOf(schema, keyspace, table)
  switch (verb) {
    case 'SELECT': {
      const bound = rules.of(keyspace, table, info?.base)
      judgeRead(findings, bound, facts, info)
      judgeLists(findings, bound, facts, 0)
      yield* judgeMasksOf(findings, bound, question, facts, info)
      findings.ask(bound.now)
      return findings.verdict(undefined)
    }
    case 'INSERT':
    case 'UPDATE':
    case 'DELETE': {
      const bound = rules.of(keyspace, table, info?.base)
      yield* judgeWrite(findings, bound, question, facts, info, 0)
      findings.ask(bound.now)
      const timestamps = timestampBoundsOf(bound, facts)
      if (facts.timestamp === undefined) findings.ask(timestamps.defaults)
      findings.ask(bound.batches)
      if (bound.partitions.length > 0) {
        judgePartitions(findings, bound.partitions, bound.label, yield* partitionsWritten([facts], () => info, 0))
      }
      return findings.verdict(timestamps.plain)
    }
    case 'TRUNCATE':
    case 'CREATE TABLE':
    case 'ALTER TABLE':
    case 'DROP TABLE':
    case 'ALTER MATERIALIZED VIEW':
    case 'DROP MATERIALIZED VIEW':
      judgeTableLife(findings, rules.of(keyspace, table, undefined), facts, schema?.table(keyspace, table))
      yield* judgeUses(findings, rules, question, keyspace, table)
      return findings.bareVerdict()
    case 'CREATE INDEX':
      yield* judgeUses(findings, rules, question, keyspace, table)
      return findings.bareVerdict()
    case 'CREATE MATERIALIZED VIEW':
      for (const { permission, resource } of facts.accesses) {
        if (permission !== 'SELECT' || resource.kind !== 'table') continue
        yield* judgeUses(findings, rules, question, resource.keyspace ?? keyspace, resource.table)
      }
      return findings.bareVerdict()
    default:
      return findings.bareVerdict()
  }
}

/** Everything but a timestamp that the write leaves to what is around it. */
function* judgeWrite(
  findings: Findings,
  rules: TableRules,
  question: DataQuestion,
  facts: StatementFacts,
  table: TableInfo | undefined,
  firstMarker: number | undefined,
): Steps<void> {
  judgeRowLife(findings, rules, facts, table, firstMarker)
  judgeLists(findings, rules, facts, firstMarker)
  if (facts.timestamp !== undefined) {
    judgeTimestamp(findings, timestampBoundsOf(rules, facts), facts.timestamp, firstMarker)
  }
  if (facts.conditional || rules.masks.length > 0) yield* judgeMasksOf(findings, rules, question, facts, table)
}

/** A BATCH text may hold tens of thousands of statements, so what is the same for a table is found and asked once. */
function* judgeBatch(findings: Findings, rules: DataRules, question: DataQuestion): Steps<DataVerdict> {
  const { facts, schema } = question
  let childMarkers = 0
  for (const child of facts.children) childMarkers += child.markers.length
  // Markers of the BATCH's own USING come before those of its statements.
  const ownMarkers = facts.markers.length - childMarkers
  const isMessage = ownMarkers < 0
  let firstMarker = ownMarkers
  let steps = 0
  let before: StatementFacts | undefined
  let info: TableInfo | undefined
  let bound: TableRules | undefined
  const all = new Set<TableRules>()
  // Those whose timestamp is the BATCH's own, or the request's.
  const around = new Set<TimestampBounds>()
  // Those that are one object are alike, unless they bind values, which stand in other places.
  const judged = new Set<StatementFacts>()
  for (const child of facts.children) {
    const { keyspace, table } = child
    if (keyspace === undefined || table === undefined) continue
    if (isMessage || child.markers.length === 0) {
      if (judged.has(child)) continue
      judged.add(child)
    }
    if (++steps % childrenAStep === 0) yield false
    if (bound === undefined || before?.table !== table || before.keyspace !== keyspace) {
      info = tableOf(schema, keyspace, table)
      bound = rules.of(keyspace, table, info?.base)
      all.add(bound)
      findings.ask(bound.now)
    }
    before = child
    if (child.timestamp === undefined || facts.timestamp !== undefined) around.add(timestampBoundsOf(bound, child))
    if (bound.judgesWrites || bound.masks.length > 0 || child.timestamp !== undefined || child.conditional) {
      yield* judgeWrite(findings, bound, question, child, info, isMessage ? undefined : firstMarker)
    }
    firstMarker += child.markers.length
  }
  for (const one of around) judgeTimestamp(findings, one, facts.timestamp, 0)
  let partitions: PartitionsWritten | undefined
  for (const one of all) {
    if (isMessage) findings.ask(one.batches)
    else if (one.partitions.length > 0) {
      partitions ??= yield* partitionsWritten(facts.children, tableOfWrite(schema), ownMarkers)
      judgePartitions(findings, one.partitions, one.label, partitions)
    }
  }
  if (all.size === 0) return findings.bareVerdict()
  const [only, ...others] = around
  return findings.verdict(others.length === 0 ? only?.plain : undefined)
}

/** What a schema statement does with columns of a table: which rows a view shows, and in which order, tells of values. */
function* judgeUses(
  findings: Findings,
  rules: DataRules,
  question: DataQuestion,
  keyspace: string,
  table: string,
): Steps<void> {
  const { facts, schema } = question
  if (facts.columnsUsed.length === 0) return
  const base = tableOf(schema, keyspace, table)?.base
  const asked = { ...facts, keyspace, table, accesses: [] }
  yield* judgeMasksOf(findings, rules.of(keyspace, table, base), question, asked, assumedTable)
}

function* judgeMasksOf(
  findings: Findings,
  rules: TableRules,
  { askers }: DataQuestion,
  facts: StatementFacts,
  table: TableInfo | undefined,
): Steps<void> {
  // What a view shows belongs to its base.
  const resource: Resource = { kind: 'table', keyspace: facts.keyspace, table: table?.base ?? facts.table ?? '' }
  const known = table === assumedTable ? { ...table, columns: namedColumns(rules, facts) } : table
  for (const { party, may } of askers) {
    const unmasked = (column: string | '*'): boolean =>
      may({ permission: 'UNMASK', resource, columns: column === '*' ? '*' : [column] })
    yield* judgeMasks(findings, { party, facts, rules, table: known, unmasked })
  }
}

/** What is taken for a table where there is no schema to ask. */
const assumedTable: TableInfo = {
  partitionKey: [],
  clusteringKey: [],
  columns: [],
  base: undefined,
  defaultTtlSeconds: 0,
}

function tableOf(schema: SchemaView | undefined, keyspace: string, table: string): TableInfo | undefined {
  return schema === undefined ? assumedTable : schema.table(keyspace, table)
}

function tableOfWrite(schema: SchemaView | undefined): (write: StatementFacts) => TableInfo | undefined {
  return ({ keyspace = '', table = '' }) => tableOf(schema, keyspace, table)
}

/** Columns that masks write in full. */
function namedColumns({ masks }: TableRules, { selection }: StatementFacts): string[] {
  const exact = masks.flatMap(({ columns }) => (columns ?? []).filter((column) => !column.endsWith('*')))
  const shown = selection === '*' ? [] : (selection ?? []).filter((column) => column !== undefined)
  return [...new Set([...exact, ...shown])]
}
