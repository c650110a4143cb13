/** Data rules from YAML and facts by hand, for the tests of this folder. */
import { configError, type Problem, parseDocuments } from '../../base/document.ts'
import { factsWith } from '../../cql/statement/facts.fixture.ts'
import type { Access, Permission, Restriction, StatementFacts } from '../../cql/statement/facts.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import type { RequestCheck } from '../obligations.ts'
import { inOneGo } from '../pace.ts'
import type { Principal } from '../principal.ts'
import type { RequestValues, SchemaView, TableInfo } from '../request.ts'
import { compileDataRules } from './compile.ts'
import { evaluateInSteps } from './evaluate.ts'
import type { DataVerdict } from './findings.ts'
import { dataSchemas } from './kinds.ts'
import type { DataRules } from './rules.ts'

export const app: Principal = { spiffeId: parseSpiffeId('spiffe://td/svc/app') }
export const admin: Principal = { spiffeId: parseSpiffeId('spiffe://td/admin/root') }

/** One document; `spec` in YAML's flow style. */
export function document(kind: string, name: string, spec: string): string {
  return `apiVersion: ringfence.dev/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: ${spec}\n`
}

/** @throws RingfenceError CONFIG */
export function rulesOf(...documents: string[]): DataRules {
  const problems: Problem[] = []
  const parsed = parseDocuments(documents.join('---\n'), 'p.yaml', dataSchemas)
  const rules = compileDataRules(parsed, [], (at, path, message) => problems.push({ ...at.position(path), message }))
  if (problems.length > 0) throw configError('p.yaml', problems)
  return rules
}

export const noRules: DataRules = compileDataRules([], undefined, () => {})

export function table(more: Partial<TableInfo> = {}): TableInfo {
  return {
    partitionKey: ['id'],
    clusteringKey: [],
    columns: ['id', 'email', 'name', '__proto__'],
    base: undefined,
    defaultTtlSeconds: 0,
    ...more,
  }
}

/** Tables by `keyspace.table`. */
export function schemaOf(tables: Readonly<Record<string, TableInfo>> = { 'shop.orders': table() }): SchemaView {
  const held = new Map(Object.entries(tables))
  return { table: (keyspace, name) => held.get(`${keyspace}.${name}`), indexedTable: () => undefined }
}

type More = Partial<StatementFacts>

export function factsOf(verb: string, target: string, more: More = {}): StatementFacts {
  const [keyspace, name] = target.split('.')
  return factsWith({ verb, keyspace, table: name, ...more })
}

export function access(permission: Permission, target: string, columns: readonly string[] | '*' = []): Access {
  const [keyspace, name = ''] = target.split('.')
  return { permission, resource: { kind: 'table', keyspace, table: name }, columns }
}

/** A SELECT of columns as they stand, or of all. */
export function select(target: string, selection: '*' | readonly string[], more: More = {}): StatementFacts {
  const used = more.columnsUsed ?? []
  const mentioned = selection === '*' ? '*' : [...selection, ...used]
  return factsOf('SELECT', target, { selection, accesses: [access('SELECT', target, mentioned)], ...more })
}

export function batch(children: readonly StatementFacts[], more: More = {}): StatementFacts {
  const markers = children.flatMap((child) => child.markers)
  return factsOf('BATCH', '', { keyspace: undefined, table: undefined, children, markers, ...more })
}

export function restrict(
  column: string,
  operator: Restriction['operator'],
  ...values: Restriction['values']
): Restriction {
  return { columns: [column], operator, token: false, values, list: undefined }
}

export interface Asked {
  readonly principal?: Principal
  readonly schema?: SchemaView | undefined
  readonly may?: (access: Access) => boolean
}

export function judge(rules: DataRules, facts: StatementFacts, asked: Asked = {}): DataVerdict {
  const { principal = app, may = () => false } = asked
  const schema = 'schema' in asked ? asked.schema : schemaOf()
  const askers = [{ party: { who: principal, pair: undefined }, may }]
  return inOneGo(evaluateInSteps(rules, { facts, schema, askers }))
}

/** `-rule` for a refusal, `+` else; observed rules follow in brackets. */
export function sign({ denial, observed }: DataVerdict): string {
  return (denial === undefined ? '+' : `-${denial.rule}`) + (observed.length > 0 ? ` [${observed.join(',')}]` : '')
}

/** Masks as `column=kind`, in the order of their names. */
export function masksOf({ obligations }: DataVerdict): string[] {
  return (obligations?.masks ?? []).map(({ column, mask }) => `${column}=${mask.kind}`).sort()
}

/** The tests asked for, but for timestamps and the clock. */
export function testsOf({ obligations }: DataVerdict): RequestCheck['test'][] {
  const tests = (obligations?.checks ?? []).map(({ test }) => test)
  return tests.filter(({ kind }) => kind !== 'timestamp' && kind !== 'nowInSeconds')
}

export const nowMs = 1_700_000_000_000

export interface Given {
  /** By marker: an integer; null; undefined for unset. */
  readonly integers?: readonly (bigint | null | undefined)[]
  readonly lists?: readonly (number | null)[]
  readonly pageSize?: number
  readonly timestamp?: bigint
  readonly now?: number
  readonly partitions?: number
}

export function valuesOf(given: Given = {}): RequestValues {
  const integers = given.integers ?? []
  return {
    integer: (marker) => integers[marker] ?? null,
    unset: (marker) => marker < integers.length && integers[marker] === undefined,
    isNull: (marker) => integers[marker] === null || marker >= integers.length,
    listSize: (marker) => given.lists?.[marker] ?? null,
    text: () => null,
    pageSize: given.pageSize,
    defaultTimestampMicros: given.timestamp,
    nowInSeconds: given.now,
    partitions: given.partitions ?? 1,
    nowMs,
  }
}
