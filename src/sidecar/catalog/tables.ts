/**
 * The node's tables about its schema, read whole or some partitions of them, as rows that `cql/query` runs over.
 *
 * Rule: what is asked is answered out of rows that were read after the question came, or that are of the schema version which the node had
 * then. The node changes its version after it has written its schema (org.apache.cassandra.schema.Schema#mergeAndUpdateVersion).
 */

import { createWeighedCache } from '../../base/cache.ts'
import { assert, RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { readRowsLayout } from '../../cql/answers/rows.ts'
import { queryEnvelope } from '../../cql/encode.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import { headerOpcode, Opcode } from '../../cql/protocol.ts'
import { RowView, shapeOf, Table, TableBuilder, type TableColumn, type TableShape } from '../../cql/query/table.ts'
import { nodeError } from '../node-error.ts'
import { type Ask, readSchemaVersion } from '../schema/load.ts'
import { type BaseOf, namesViews, noViews, type SchemaTable, schemaTable } from './visible.ts'

const protocolVersion = 4
/** Of a node that says none: then nothing that is kept is known to be new. */
const noVersion = '00000000-0000-0000-0000-000000000000'
const pageRows = 1000
const viewsTable = schemaTable('system_schema', 'views')!
/** As many partitions are read by themselves rather than the whole table, where the whole is not at hand. */
export const keysMax = 4

export interface TableWanted {
  readonly table: SchemaTable
  /** `writetime(c)`, `ttl(c)`, `maxwritetime(c)`: read beside the columns. */
  readonly stamps: readonly string[]
  /** Only these partitions matter; undefined for all. */
  readonly keys: readonly Buffer[] | undefined
}

interface Kept {
  readonly version: string
  readonly table: Table
}

export class SchemaTables {
  readonly #ask: Ask
  /** One for each of a dozen tables. */
  readonly #kept = createWeighedCache<Kept>(limits.schemaRowsBytesMax, ({ table }) => table.bytes)
  /** Reads of whole tables that are under way, by table and the version that they began with. */
  readonly #reading = new Map<string, Promise<Table>>()
  #version: Promise<string> | undefined

  constructor(ask: Ask) {
    this.#ask = ask
  }

  /** Whether the rows would be read for this question alone. */
  isOwn({ stamps, keys }: TableWanted): boolean {
    return stamps.length > 0 || keys !== undefined
  }

  /**
   * Rows that are at least as new as this call.
   * @throws RingfenceError UPSTREAM where the node is away or refuses, OVERLOADED where there is more than may be kept in memory
   */
  async read(wanted: TableWanted): Promise<Table> {
    const { table, stamps } = wanted
    const version = await this.#versionNow()
    const name = `${table.keyspace}.${table.name}`
    const kept = this.#kept.get(name)
    if (stamps.length === 0 && kept?.version === version && version !== noVersion) return kept.table
    if (this.isOwn(wanted)) return await this.#load(wanted)
    const key = `${name} ${version}`
    let reading = this.#reading.get(key)
    if (reading === undefined) {
      reading = this.#readWhole(wanted, name, version).finally(() => this.#reading.delete(key))
      this.#reading.set(key, reading)
    }
    return await reading
  }

  /**
   * The base tables of views that rows of this table may be about. To be asked for after its rows, so that none of their views is newer.
   * Throws as `read` does.
   */
  async bases(table: SchemaTable, keys: readonly Buffer[] | undefined): Promise<BaseOf> {
    if (!namesViews(table)) return noViews
    const rows = await this.read({ table: viewsTable, stamps: [], keys })
    let bases = basesIn.get(rows)
    if (bases === undefined) {
      bases = basesOf(rows)
      basesIn.set(rows, bases)
    }
    const known = bases
    return (keyspace, view) => known.get(keyspace)?.get(view)
  }

  /** It is kept where the version is the same before and after. */
  async #readWhole(wanted: TableWanted, name: string, before: string): Promise<Table> {
    const table = await this.#load(wanted)
    if ((await readSchemaVersion(this.#ask)) === before) this.#kept.set(name, { version: before, table })
    return table
  }

  /** Asked once for all who ask in one turn. */
  #versionNow(): Promise<string> {
    if (this.#version === undefined) {
      this.#version = readSchemaVersion(this.#ask)
      // Whoever comes after it was sent may know of something newer.
      queueMicrotask(() => {
        this.#version = undefined
      })
    }
    return this.#version
  }

  async #load({ table, stamps, keys }: TableWanted): Promise<Table> {
    let selection = '*'
    if (stamps.length > 0) {
      const shape = await this.#shapeOf(table)
      selection = [...shape.columns.map(({ name }) => `"${name}"`), ...stamps].join(', ')
    }
    const text = `SELECT ${selection} FROM ${table.keyspace}.${table.name}`
    if (keys === undefined) return new Table(await this.#pages(table, stamps.length, text, []))
    let builder: TableBuilder | undefined
    for (const key of keys) {
      builder = await this.#pages(table, stamps.length, `${text} WHERE keyspace_name = ?`, [key], builder)
    }
    assert(builder !== undefined, 'partitions are named where only some matter')
    return new Table(builder)
  }

  async #shapeOf(table: SchemaTable): Promise<TableShape> {
    const known = this.#kept.get(`${table.keyspace}.${table.name}`)
    if (known !== undefined) return known.table.shape
    return (await this.#pages(table, 0, `SELECT * FROM ${table.keyspace}.${table.name} LIMIT 1`, [])).shape
  }

  /** Adds to `added`, or begins. */
  async #pages(
    table: SchemaTable,
    stampCount: number,
    text: string,
    values: readonly Buffer[],
    added?: TableBuilder,
  ): Promise<TableBuilder> {
    let builder = added
    let pagingState: Buffer | undefined
    do {
      const options = { values, pageSize: pageRows, ...(pagingState === undefined ? {} : { pagingState }) }
      const answer = await this.#ask(queryEnvelope(protocolVersion, 0, text, options))
      if (headerOpcode(answer, 0) !== Opcode.RESULT) throw nodeError(answer)
      const place = readRowsLayout(wholeEnvelope(answer), protocolVersion)
      builder ??= new TableBuilder(shapeFrom(table, place.columns ?? [], stampCount))
      if (builder.bytes + answer.length > limits.schemaRowsBytesMax) {
        throw new RingfenceError(
          'OVERLOADED',
          `schemaRowsBytesMax ${limits.schemaRowsBytesMax} reached: ask about one keyspace`,
        )
      }
      builder.addPage(answer, place.rowsAt, place.rowCount)
      pagingState =
        place.pagingStateStart < 0 ? undefined : answer.subarray(place.pagingStateStart, place.pagingStateEnd)
    } while (pagingState !== undefined)
    return builder
  }
}

const basesIn = new WeakMap<Table, ReadonlyMap<string, ReadonlyMap<string, string>>>()

/** By keyspace and view. */
function basesOf(rows: Table): Map<string, Map<string, string>> {
  const at = (column: string): number => rows.shape.columns.findIndex(({ name }) => name === column)
  const [keyspaceAt, viewAt, baseAt] = [at('keyspace_name'), at('view_name'), at('base_table_name')]
  const bases = new Map<string, Map<string, string>>()
  const view = new RowView(rows.shape.columns.length)
  for (let row = 0; row < rows.rowCount; row++) {
    const textAt = (column: number): string => rows.view(view, row).cell(column)?.toString() ?? ''
    const [keyspace, name, base] = [textAt(keyspaceAt), textAt(viewAt), textAt(baseAt)]
    const known = bases.get(keyspace)
    if (known === undefined) bases.set(keyspace, new Map([[name, base]]))
    else known.set(name, base)
  }
  return bases
}

/** Keys are those of Cassandra 4.0 to 5.0 (`schema/SchemaKeyspace.java`); a column that a newer node has comes along. */
function shapeFrom(
  { keyspace, name, key, isVirtual }: SchemaTable,
  columns: readonly { readonly name: string; readonly type: TableColumn['type'] }[],
  stampCount: number,
): TableShape {
  const shown = columns.length - stampCount
  const shaped = columns.map((column, i): TableColumn => {
    const at = i < shown ? key.indexOf(column.name) : -1
    const kind = at === 0 ? 'partition_key' : at > 0 ? 'clustering' : 'regular'
    return { name: column.name, type: column.type, kind, position: at <= 0 ? at : at - 1 }
  })
  if (!key.every((wanted) => shaped.some((column) => column.name === wanted))) {
    throw new RingfenceError('UPSTREAM', `the node’s table ${keyspace}.${name} has another key than is known`)
  }
  return shapeOf(keyspace, name, shaped, isVirtual ? 'bytes' : 'murmur3', shown)
}
