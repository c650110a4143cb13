/**
 * Reads the schema out of a node's own tables (org.apache.cassandra.schema.SchemaKeyspace, db.virtual.VirtualSchemaKeyspace).
 *
 * Rule: a table is in the model only with its whole key. The tables are read one after the other, so a change between two of them can
 * be seen by halves; what makes no sense is left out, and the event of that change brings the next load.
 */
import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { RingfenceError } from '../../base/errors.ts'
import { queryEnvelope } from '../../cql/encode.ts'
import { headerOpcode, Opcode } from '../../cql/protocol.ts'
import { readRows } from '../../cql/responses.ts'
import { decodeValue, mapOf, native } from '../../cql/values.ts'
import type { Permit } from '../../policy/engine.ts'
import { nodeError } from '../upstream.ts'
import type { ColumnKind, ColumnModel, KeyspaceModel, Replication, TableModel } from './model.ts'

/** Sends a question and gives a copy of the answer: `Upstream.ask`. Throws `UPSTREAM`. */
export type Ask = (envelope: Buffer, permit?: Permit) => Promise<Buffer>

const VERSION = 4
/** A page is decoded in one go while sessions wait, and those of several tables may come together: this many rows take about a millisecond. */
const PAGE_ROWS = 500
/** A schema larger than this is not one that a node can run; a node that pages for ever is not believed. */
const PAGES_MAX = 1000

const real = {
  keyspaces: 'SELECT keyspace_name, replication FROM system_schema.keyspaces',
  tables: 'SELECT keyspace_name, table_name, default_time_to_live FROM system_schema.tables',
  views: 'SELECT keyspace_name, view_name, default_time_to_live, base_table_name FROM system_schema.views',
  columns: 'SELECT keyspace_name, table_name, column_name, kind, position, type FROM system_schema.columns',
  indexes: 'SELECT keyspace_name, index_name, table_name FROM system_schema.indexes',
  functions: 'SELECT keyspace_name, function_name FROM system_schema.functions',
  aggregates: 'SELECT keyspace_name, aggregate_name FROM system_schema.aggregates',
} as const
const virtual = {
  keyspaces: 'SELECT keyspace_name FROM system_virtual_schema.keyspaces',
  tables: 'SELECT keyspace_name, table_name FROM system_virtual_schema.tables',
  columns: 'SELECT keyspace_name, table_name, column_name, kind, position, type FROM system_virtual_schema.columns',
} as const
const VERSION_TEXT = 'SELECT schema_version FROM system.local'
const OF_KEYSPACE = ' WHERE keyspace_name = ?'

const textToText = mapOf(native('text'), native('text'))

export type Row = readonly (Buffer | null)[]

/** Rows of one keyspace, in the order they came. */
interface Parts {
  replication: Buffer | null
  readonly tables: Row[]
  readonly views: Row[]
  readonly columns: Row[]
  readonly indexes: Row[]
  readonly functions: Row[]
}

/** All keyspaces, virtual ones too. Throws `UPSTREAM`. */
export async function loadSchema(ask: Ask): Promise<Map<string, KeyspaceModel>> {
  const [keyspaces, tables, views, columns, indexes, functions, aggregates, ...ofVirtual] = await Promise.all([
    rowsOf(ask, real.keyspaces),
    rowsOf(ask, real.tables),
    rowsOf(ask, real.views),
    rowsOf(ask, real.columns),
    rowsOf(ask, real.indexes),
    rowsOf(ask, real.functions),
    rowsOf(ask, real.aggregates),
    rowsOf(ask, virtual.keyspaces),
    rowsOf(ask, virtual.tables),
    rowsOf(ask, virtual.columns),
  ])
  const own = { keyspaces, tables, views, columns, indexes, functions: [...functions, ...aggregates] }
  const models = await assemble(own, false)
  const [virtualKeyspaces = [], virtualTables = [], virtualColumns = []] = ofVirtual
  const virtualRows = { keyspaces: virtualKeyspaces, tables: virtualTables, columns: virtualColumns }
  const virtualModels = await assemble({ ...virtualRows, views: [], indexes: [], functions: [] }, true)
  return new Map([...models, ...virtualModels])
}

/** One keyspace that is not virtual; undefined where there is none of that name. Throws `UPSTREAM`. */
export async function loadKeyspace(ask: Ask, name: string): Promise<KeyspaceModel | undefined> {
  const [keyspaces, tables, views, columns, indexes, functions, aggregates] = await Promise.all([
    rowsOf(ask, real.keyspaces, name),
    rowsOf(ask, real.tables, name),
    rowsOf(ask, real.views, name),
    rowsOf(ask, real.columns, name),
    rowsOf(ask, real.indexes, name),
    rowsOf(ask, real.functions, name),
    rowsOf(ask, real.aggregates, name),
  ])
  const own = { keyspaces, tables, views, columns, indexes, functions: [...functions, ...aggregates] }
  return (await assemble(own, false)).get(name)
}

/** The node's schema version now, as a UUID's text. Throws `UPSTREAM`. */
export async function readSchemaVersion(ask: Ask): Promise<string> {
  const [row] = await rowsOf(ask, VERSION_TEXT)
  const hex = row?.[0]?.toString('hex') ?? '0'.repeat(32)
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** All rows of a SELECT, `keyspace` bound where it is given. Throws `UPSTREAM`. */
export async function rowsOf(ask: Ask, table: string, keyspace?: string): Promise<Row[]> {
  const text = keyspace === undefined ? table : table + OF_KEYSPACE
  const values = keyspace === undefined ? [] : [Buffer.from(keyspace)]
  const rows: Row[] = []
  let pagingState: Buffer | undefined
  for (let page = 0; page < PAGES_MAX; page++) {
    const options = { values, pageSize: PAGE_ROWS, ...(pagingState === undefined ? {} : { pagingState }) }
    const answer = await ask(queryEnvelope(VERSION, 0, text, options))
    if (headerOpcode(answer, 0) !== Opcode.RESULT) throw nodeError(answer)
    const read = readRows(answer, 0, answer.length, VERSION)
    for (const row of read.rows) rows.push(row)
    if (read.pagingState === null) return rows
    pagingState = read.pagingState
  }
  throw new RingfenceError('UPSTREAM', `the node gives more than ${PAGES_MAX} pages`)
}

/** What one turn of the loop gives to a schema that is read. */
const SLICE_MS = 4
/** Rows between two looks at the clock: less than a millisecond. */
const ROWS_A_PIECE = 256
const TABLES_A_PIECE = 16

/** In pieces, with a turn for the sessions between them. */
async function assemble(
  rows: Record<'keyspaces' | 'tables' | 'views' | 'columns' | 'indexes' | 'functions', readonly Row[]>,
  isVirtual: boolean,
): Promise<Map<string, KeyspaceModel>> {
  await nextTurn()
  const steps = assembled(rows, isVirtual)
  let until = performance.now() + SLICE_MS
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
    if (performance.now() < until) continue
    await nextTurn()
    until = performance.now() + SLICE_MS
  }
}

function* assembled(
  rows: Record<'keyspaces' | 'tables' | 'views' | 'columns' | 'indexes' | 'functions', readonly Row[]>,
  isVirtual: boolean,
): Generator<undefined, Map<string, KeyspaceModel>> {
  const byKeyspace = new Map<string, Parts>()
  for (const [name, replication = null] of rows.keyspaces) {
    byKeyspace.set(textOf(name), { replication, tables: [], views: [], columns: [], indexes: [], functions: [] })
  }
  for (const kind of ['tables', 'views', 'columns', 'indexes', 'functions'] as const) {
    for (const [at, row] of rows[kind].entries()) {
      if (at % ROWS_A_PIECE === 0) yield
      byKeyspace.get(textOf(row[0]))?.[kind].push(row)
    }
  }
  const models = new Map<string, KeyspaceModel>()
  for (const [name, parts] of byKeyspace) models.set(name, yield* keyspaceOf(name, parts, isVirtual))
  return models
}

function* keyspaceOf(name: string, parts: Parts, isVirtual: boolean): Generator<undefined, KeyspaceModel> {
  const columns = new Map<string, ColumnModel[]>()
  for (const [at, [, table, column, kind, position, type]] of parts.columns.entries()) {
    if (at % ROWS_A_PIECE === 0) yield
    const of = columns.get(textOf(table)) ?? []
    of.push({ name: textOf(column), kind: textOf(kind) as ColumnKind, position: intOf(position), type: textOf(type) })
    columns.set(textOf(table), of)
  }
  const tables = new Map<string, TableModel>()
  for (const [at, [, nameBytes, ttl, base]] of [...parts.tables, ...parts.views].entries()) {
    if (at % TABLES_A_PIECE === 0) yield
    const table = textOf(nameBytes)
    const shape = shapeOf(columns.get(table) ?? [])
    if (shape === undefined) continue
    const common = { keyspace: name, name: table, isVirtual, defaultTtlSeconds: intOf(ttl) }
    tables.set(table, { ...common, ...shape, base: base == null ? undefined : textOf(base) })
  }
  const indexes = new Map(parts.indexes.map(([, index, table]) => [textOf(index), textOf(table)]))
  const functions = new Set(parts.functions.map(([, called]) => textOf(called)))
  const { views, columns: columnRows } = parts
  yield
  const rows = [[[parts.replication]], parts.tables, views, columnRows, parts.indexes, parts.functions]
  const digest = yield* digestSlices(rows)
  return { name, replication: replicationOf(parts.replication), tables, functions, indexes, digest }
}

type Shape = Pick<TableModel, 'partitionKey' | 'clusteringKey' | 'columns' | 'definitions'>

/** Undefined where columns of the key are missing. */
function shapeOf(columns: readonly ColumnModel[]): Shape | undefined {
  const sorted = columns.toSorted(
    (a, b) => rank(a.kind) - rank(b.kind) || a.position - b.position || (a.name < b.name ? -1 : 1),
  )
  const keyOf = (kind: ColumnKind): ColumnModel[] => sorted.filter((column) => column.kind === kind)
  const [partition, clustering] = [keyOf('partition_key'), keyOf('clustering')]
  const whole = (key: ColumnModel[]): boolean => key.every(({ position }, i) => position === i)
  if (partition.length === 0 || !whole(partition) || !whole(clustering)) return undefined
  return {
    partitionKey: partition.map(({ name }) => name),
    clusteringKey: clustering.map(({ name }) => name),
    columns: sorted.map(({ name }) => name),
    definitions: new Map(sorted.map((column) => [column.name, column])),
  }
}

function rank(kind: ColumnKind): number {
  return kind === 'partition_key' ? 0 : kind === 'clustering' ? 1 : kind === 'static' ? 2 : 3
}

function replicationOf(bytes: Buffer | null): Replication | undefined {
  if (bytes === null) return undefined
  const options = new Map(decodeValue(textToText, bytes) as Map<string, string>)
  const strategy = options.get('class') ?? ''
  options.delete('class')
  return { strategy: strategy.slice(strategy.lastIndexOf('.') + 1), options }
}

/** Over every cell with its length, so that no content can look like another. */
export function digestOfRows(lists: readonly (readonly Row[])[]): string {
  const steps = digestSlices(lists)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

/** Into a buffer for many rows: a call to the hash for each cell is slow. */
function* digestSlices(lists: readonly (readonly Row[])[]): Generator<undefined, string> {
  const hash = createHash('sha256')
  const count = Buffer.allocUnsafe(4)
  for (const rows of lists) {
    count.writeInt32BE(rows.length)
    hash.update(count)
    for (let from = 0; from < rows.length; from += ROWS_A_PIECE) {
      hash.update(bytesOf(rows.slice(from, from + ROWS_A_PIECE)))
      yield
    }
  }
  return hash.digest('base64')
}

function bytesOf(rows: readonly Row[]): Buffer {
  let bytes = 0
  for (const row of rows) for (const cell of row) bytes += 4 + (cell?.length ?? 0)
  const buffer = Buffer.allocUnsafe(bytes)
  let at = 0
  for (const row of rows) {
    for (const cell of row) {
      at = buffer.writeInt32BE(cell?.length ?? -1, at)
      if (cell !== null) at += cell.copy(buffer, at)
    }
  }
  return buffer
}

function textOf(bytes: Buffer | null | undefined): string {
  return bytes?.toString('utf8') ?? ''
}

/** 0 for null: a table without a default time to live says 0 or nothing. */
function intOf(bytes: Buffer | null | undefined): number {
  return bytes?.length === 4 ? bytes.readInt32BE(0) : 0
}
