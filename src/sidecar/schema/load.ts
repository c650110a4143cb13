/**
 * Reads the schema out of a node's own tables (org.apache.cassandra.schema.SchemaKeyspace, db.virtual.VirtualSchemaKeyspace).
 *
 * Rule: a table is in the model only with its whole key. The tables are read one after the other, so a change between two of them can
 * be seen by halves; what makes no sense is left out, and the event of that change brings the next load.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { RingfenceError } from '../../base/errors.ts'
import { readRowsLayout } from '../../cql/answers/rows.ts'
import { queryEnvelope } from '../../cql/encode.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import { headerOpcode, Opcode } from '../../cql/protocol.ts'
import { readRows } from '../../cql/responses.ts'
import { mapOf, native } from '../../cql/types.ts'
import { decodeValue } from '../../cql/values.ts'
import type { Permit } from '../../policy/engine.ts'
import { nodeError } from '../node-error.ts'
import type { ColumnKind, ColumnModel, KeyspaceModel, Replication, TableModel } from './model.ts'
import { RowsDigest, SchemaRows } from './rows.ts'

/** Sends a question and gives a copy of the answer: `Upstream.ask`. Throws `UPSTREAM`. */
export type Ask = (envelope: Buffer, permit?: Permit) => Promise<Buffer>

const version = 4
/** A page is copied in one go, and those of several tables may come together. A node may give more: nothing rests on it. */
const pageRows = 500
/** A schema larger than this is not one that a node can run; a node that pages for ever is not believed. */
const pagesMax = 1000

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
const versionText = 'SELECT schema_version FROM system.local'
const ofKeyspace = ' WHERE keyspace_name = ?'

const textToText = mapOf(native('text'), native('text'))

export type Row = readonly (Buffer | null)[]

/** What is read of a schema, in the order in which it goes into the digest. */
const kinds = ['tables', 'views', 'columns', 'indexes', 'functions', 'aggregates'] as const
type Kind = (typeof kinds)[number]

/** All keyspaces, virtual ones too. Throws `UPSTREAM`. */
export async function loadSchema(ask: Ask): Promise<Map<string, KeyspaceModel>> {
  const [own, ofVirtual] = await Promise.all([answersOf(ask, real), answersOf(ask, virtual)])
  return new Map([...(await assemble(own, false)), ...(await assemble(ofVirtual, true))])
}

/** One keyspace that is not virtual; undefined where there is none of that name. Throws `UPSTREAM`. */
export async function loadKeyspace(ask: Ask, name: string): Promise<KeyspaceModel | undefined> {
  return (await assemble(await answersOf(ask, real, name), false)).get(name)
}

/** The node's schema version now, as a UUID's text. Throws `UPSTREAM`. */
export async function readSchemaVersion(ask: Ask): Promise<string> {
  const [row] = await rowsOf(ask, versionText)
  const hex = row?.[0]?.toString('hex') ?? '0'.repeat(32)
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** All rows of a SELECT, `keyspace` bound where it is given: for few. Throws `UPSTREAM`. */
export async function rowsOf(ask: Ask, table: string, keyspace?: string): Promise<Row[]> {
  const rows: Row[] = []
  for (const answer of await pagesOf(ask, table, keyspace)) {
    for (const row of readRows(wholeEnvelope(answer), version).rows) rows.push(row)
  }
  return rows
}

type Answers = { readonly [K in Kind | 'keyspaces']?: readonly Buffer[] }

async function answersOf(ask: Ask, texts: Readonly<Record<string, string>>, keyspace?: string): Promise<Answers> {
  const asked = Object.entries(texts).map(async ([kind, text]) => [kind, await pagesOf(ask, text, keyspace)] as const)
  return Object.fromEntries(await Promise.all(asked))
}

/** The answers to a SELECT, page by page. */
async function pagesOf(ask: Ask, table: string, keyspace?: string): Promise<Buffer[]> {
  const text = keyspace === undefined ? table : table + ofKeyspace
  const values = keyspace === undefined ? [] : [Buffer.from(keyspace)]
  const answers: Buffer[] = []
  let pagingState: Buffer | undefined
  while (answers.length < pagesMax) {
    const options = { values, pageSize: pageRows, ...(pagingState === undefined ? {} : { pagingState }) }
    const answer = await ask(queryEnvelope(version, 0, text, options))
    if (headerOpcode(answer, 0) !== Opcode.RESULT) throw nodeError(answer)
    answers.push(answer)
    const { pagingStateStart, pagingStateEnd } = readRowsLayout(wholeEnvelope(answer), version)
    if (pagingStateStart < 0) return answers
    pagingState = answer.subarray(pagingStateStart, pagingStateEnd)
  }
  throw new RingfenceError('UPSTREAM', `the node gives more than ${pagesMax} pages`)
}

/** What one turn of the loop gives to a schema that is read. */
const sliceMs = 4
/** Rows between two looks at the clock: less than a millisecond. */
const rowsAPiece = 256

/** In pieces, with a turn for the sessions between them. */
async function assemble(answers: Answers, isVirtual: boolean): Promise<Map<string, KeyspaceModel>> {
  await nextTurn()
  const steps = assembled(answers, isVirtual)
  let until = performance.now() + sliceMs
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
    if (performance.now() < until) continue
    await nextTurn()
    until = performance.now() + sliceMs
  }
}

function* assembled(answers: Answers, isVirtual: boolean): Generator<undefined, Map<string, KeyspaceModel>> {
  const parts = new Map<string, KeyspaceParts>()
  for (const row of new SchemaRows(answers.keyspaces ?? [])) {
    const name = row.text(0)
    // Virtual ones have no replication.
    parts.set(name, new KeyspaceParts(name, isVirtual ? null : row.bytes(1)))
  }
  for (const kind of kinds) {
    let at = 0
    for (const row of new SchemaRows(answers[kind] ?? [])) {
      if (at++ % rowsAPiece === 0) yield
      parts.get(row.text(0))?.add(kind, row)
    }
    for (const part of parts.values()) part.ended()
  }
  const models = new Map<string, KeyspaceModel>()
  for (const [name, part] of parts) models.set(name, yield* part.model(isVirtual))
  return models
}

interface NamedTable {
  readonly name: string
  readonly defaultTtlSeconds: number
  readonly base: string | undefined
}

/** What is known of a keyspace while its rows come. */
class KeyspaceParts {
  readonly #name: string
  readonly #replication: Buffer | null
  readonly #tables: NamedTable[] = []
  readonly #columns = new Map<string, ColumnModel[]>()
  readonly #indexes = new Map<string, string>()
  readonly #functions = new Set<string>()
  readonly #digest = new RowsDigest()

  constructor(name: string, replication: Buffer | null) {
    this.#name = name
    this.#replication = replication
    const bytes = bytesOf([[replication]])
    this.#digest.add(bytes, 0, bytes.length)
    this.#digest.endList()
  }

  add(kind: Kind, row: SchemaRows): void {
    row.digestInto(this.#digest)
    const name = row.text(1)
    switch (kind) {
      case 'tables':
      case 'views': {
        const base = kind === 'views' ? row.text(3) : undefined
        this.#tables.push({ name, defaultTtlSeconds: row.integer(2), base })
        return
      }
      case 'columns': {
        const column = row.text(2)
        const kindOf = row.text(3) as ColumnKind
        const model: ColumnModel = { name: column, kind: kindOf, position: row.integer(4), type: row.text(5) }
        const others = this.#columns.get(name)
        if (others === undefined) this.#columns.set(name, [model])
        else others.push(model)
        return
      }
      case 'indexes':
        this.#indexes.set(name, row.text(2))
        return
      case 'functions':
      case 'aggregates':
        this.#functions.add(name)
    }
  }

  /** No more rows of a kind. */
  ended(): void {
    this.#digest.endList()
  }

  *model(isVirtual: boolean): Generator<undefined, KeyspaceModel> {
    const tables = new Map<string, TableModel>()
    let done = rowsAPiece
    for (const { name, defaultTtlSeconds, base } of this.#tables) {
      if (done >= rowsAPiece) {
        done = 0
        yield
      }
      const columns = this.#columns.get(name) ?? []
      done += 1 + columns.length
      const shape = shapeOf(columns)
      if (shape === undefined) continue
      tables.set(name, { keyspace: this.#name, name, isVirtual, defaultTtlSeconds, ...shape, base })
    }
    return {
      name: this.#name,
      replication: replicationOf(this.#replication),
      tables,
      functions: this.#functions,
      indexes: this.#indexes,
      digest: this.#digest.text(),
    }
  }
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
  const digest = new RowsDigest()
  for (const rows of lists) {
    const bytes = bytesOf(rows)
    digest.add(bytes, 0, bytes.length)
    digest.endList()
  }
  return digest.text()
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
