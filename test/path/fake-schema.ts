/**
 * The schema of a fake node, and what Cassandra 5.0 answers from it: system_schema and system_virtual_schema with the columns and types of
 * org.apache.cassandra.schema.SchemaKeyspace and db.virtual.VirtualSchemaKeyspace, a WHERE on the keyspace, and pages.
 */
import { rowsEnvelope } from '../../src/cql/encode.ts'
import type { ProtocolVersion } from '../../src/cql/protocol.ts'
import { type CqlType, mapOf, native } from '../../src/cql/types.ts'
import { encodeValue } from '../../src/cql/values.ts'

export interface FakeTable {
  readonly keyspace: string
  readonly name: string
  /** Names with CQL types, in key order. */
  readonly partitionKey: Readonly<Record<string, string>>
  readonly clusteringKey?: Readonly<Record<string, string>>
  readonly statics?: Readonly<Record<string, string>>
  readonly regulars?: Readonly<Record<string, string>>
  readonly defaultTtlSeconds?: number
  /** Makes it a view. */
  readonly base?: string
  readonly indexes?: readonly string[]
  readonly virtual?: boolean
}

/** What the path tests talk about. */
export const defaultTables: readonly FakeTable[] = [
  { keyspace: 'shop', name: 'items', partitionKey: { k: 'text' }, regulars: { v: 'text' } },
  { keyspace: 'play', name: 'items', partitionKey: { k: 'text' }, regulars: { v: 'text' } },
  { keyspace: 'play', name: 'things', partitionKey: { n: 'int' }, regulars: { v: 'text' } },
  {
    keyspace: 'system',
    name: 'local',
    partitionKey: { key: 'text' },
    regulars: { cluster_name: 'text', schema_version: 'uuid' },
  },
  { keyspace: 'system', name: 'peers', partitionKey: { peer: 'inet' }, regulars: { rpc_address: 'inet' } },
  {
    keyspace: 'system',
    name: 'peers_v2',
    partitionKey: { peer: 'inet' },
    clusteringKey: { peer_port: 'int' },
    regulars: { native_address: 'inet' },
  },
  {
    keyspace: 'system_schema',
    name: 'tables',
    partitionKey: { keyspace_name: 'text' },
    clusteringKey: { table_name: 'text' },
    regulars: { default_time_to_live: 'int', id: 'uuid' },
  },
  {
    keyspace: 'system_views',
    name: 'clients',
    partitionKey: { address: 'inet' },
    clusteringKey: { port: 'int' },
    regulars: { username: 'text' },
    virtual: true,
  },
]

type Cell = string | number | ReadonlyMap<string, string> | null

const text = native('text')
const int = native('int')
const names = { keyspace_name: text, table_name: text }
const columnColumns = { ...names, column_name: text, clustering_order: text, kind: text, position: int, type: text }

/** Columns of each table that is known here, in the order of SELECT *. */
const columnsOf: Readonly<Record<string, Readonly<Record<string, CqlType>>>> = {
  'system_schema.keyspaces': {
    keyspace_name: text,
    durable_writes: native('boolean'),
    replication: mapOf(text, text),
  },
  'system_schema.tables': { ...names, default_time_to_live: int },
  'system_schema.views': { keyspace_name: text, view_name: text, base_table_name: text, default_time_to_live: int },
  'system_schema.columns': columnColumns,
  'system_schema.indexes': { ...names, index_name: text, kind: text, options: mapOf(text, text) },
  'system_schema.functions': { keyspace_name: text, function_name: text },
  'system_schema.aggregates': { keyspace_name: text, aggregate_name: text },
  'system_virtual_schema.keyspaces': { keyspace_name: text },
  'system_virtual_schema.tables': { ...names, comment: text },
  'system_virtual_schema.columns': columnColumns,
}

export class FakeSchema {
  tables: readonly FakeTable[] = defaultTables
  /** User functions and aggregates, as `keyspace.name`. */
  functions: readonly string[] = []
  aggregates: readonly string[] = []
  /** Of keyspaces that are named here; others are SimpleStrategy with one replica. */
  readonly replication = new Map<string, ReadonlyMap<string, string>>()
  /** A node may give fewer rows than the page asked for. */
  pageRowsMax: number = Number.POSITIVE_INFINITY

  add(...tables: FakeTable[]): void {
    this.tables = [...this.tables, ...tables]
  }

  remove(keyspace: string, name: string): void {
    this.tables = this.tables.filter((table) => table.keyspace !== keyspace || table.name !== name)
  }

  /** Undefined for what is not a SELECT from these tables. `value` is the first bound one. */
  answer(
    version: ProtocolVersion,
    stream: number,
    statement: string,
    value: string | undefined,
    page: { size: number | undefined; state: Buffer | undefined },
  ): Buffer | undefined {
    const match = /^SELECT (.+) FROM (\w+)\.(\w+)(?: WHERE keyspace_name = (?:\?|'(\w+)'))?$/.exec(statement)
    const [, selection = '', keyspace = '', table = '', literal] = match ?? []
    const known = columnsOf[`${keyspace}.${table}`]
    if (known === undefined) return undefined
    const wanted = selection === '*' ? Object.keys(known) : selection.split(', ')
    const only = statement.includes(' WHERE ') ? (literal ?? value) : undefined
    const rows = [...this.#rows(`${keyspace}.${table}`)].filter(
      (row) => only === undefined || row.keyspace_name === only,
    )
    const from = page.state?.readInt32BE(0) ?? 0
    const to = Math.min(rows.length, from + Math.min(page.size ?? rows.length, this.pageRowsMax))
    const columns = wanted.map((name) => ({ name, type: known[name] ?? text }))
    const cells = rows
      .slice(from, to)
      .map((row) => columns.map(({ name, type }) => encodeValue(type, (row[name] ?? null) as never)))
    const pagingState = Buffer.alloc(4)
    pagingState.writeInt32BE(to)
    const spec = { keyspace, table, columns, ...(to < rows.length ? { pagingState } : {}) }
    return rowsEnvelope(version, stream, spec, cells)
  }

  *#rows(of: string): Generator<Record<string, Cell>> {
    const isVirtual = of.startsWith('system_virtual_schema.')
    // Rows of a partition stand together, in the order of the clustering key.
    const tables = this.tables
      .filter((table) => (table.virtual === true) === isVirtual)
      .toSorted((a, b) => compareTexts(a.keyspace, b.keyspace) || compareTexts(a.name, b.name))
    if (of.endsWith('.keyspaces')) {
      for (const name of new Set(tables.map(({ keyspace }) => keyspace))) {
        const simple = new Map([
          ['class', 'org.apache.cassandra.locator.SimpleStrategy'],
          ['replication_factor', '1'],
        ])
        yield { keyspace_name: name, replication: this.replication.get(name) ?? simple }
      }
      return
    }
    for (const [kind, column, called] of [
      ['functions', 'function_name', this.functions],
      ['aggregates', 'aggregate_name', this.aggregates],
    ] as const) {
      if (of !== `system_schema.${kind}`) continue
      for (const one of called) {
        const [keyspace_name = '', name = ''] = one.split('.')
        yield { keyspace_name, [column]: name }
      }
      return
    }
    for (const table of tables) {
      const { keyspace: keyspace_name, name, base, defaultTtlSeconds: default_time_to_live = 0 } = table
      const row = { keyspace_name, table_name: name }
      if (of.endsWith('.tables') && base === undefined) yield { ...row, default_time_to_live, comment: '' }
      if (of.endsWith('.views') && base !== undefined) {
        yield { keyspace_name, view_name: name, base_table_name: base, default_time_to_live }
      }
      if (of.endsWith('.indexes')) {
        for (const index_name of table.indexes ?? []) yield { ...row, index_name, kind: 'COMPOSITES' }
      }
      if (of.endsWith('.columns')) for (const column of columnRows(table)) yield { ...row, ...column }
    }
  }
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** By name, as the clustering key of the table has it. */
function columnRows({ partitionKey, clusteringKey = {}, statics = {}, regulars = {} }: FakeTable) {
  const of = (kind: string, columns: Readonly<Record<string, string>>, hasPosition: boolean) =>
    Object.entries(columns).map(([column_name, type], i) => ({
      column_name,
      clustering_order: kind === 'clustering' ? 'asc' : 'none',
      kind,
      position: hasPosition ? i : -1,
      type,
    }))
  return [
    ...of('partition_key', partitionKey, true),
    ...of('clustering', clusteringKey, true),
    ...of('static', statics, false),
    ...of('regular', regulars, false),
  ].sort((a, b) => (a.column_name < b.column_name ? -1 : 1))
}
