/**
 * A table in memory: its rows as they stand in answers of the node, [bytes] behind [bytes], and where each begins. Rows are of a partition
 * together and in clustering order; partitions stand in the order of their tokens.
 */

import { murmur3Token, token } from '../murmur3.ts'
import { compositeKey } from '../partition-key.ts'
import type { CqlType } from '../types.ts'
import { BodyWriter } from '../writer.ts'

export interface TableColumn {
  readonly name: string
  readonly type: CqlType
  readonly kind: 'partition_key' | 'clustering' | 'static' | 'regular'
  /** Within its key; −1 for others. */
  readonly position: number
  /** Clustering in descending order. */
  readonly descending?: boolean
  /** A collection of cells, not frozen: no relation but CONTAINS may be about it as a whole. */
  readonly multicell?: boolean
}

export interface TableShape {
  readonly keyspace: string
  readonly name: string
  /** In the order of `SELECT *`. What stands behind the `shown` ones is there for `writetime(c)` and its like, under that name. */
  readonly columns: readonly TableColumn[]
  readonly shown: number
  /** Places of the key's columns. */
  readonly partitionKey: readonly number[]
  readonly clusteringKey: readonly number[]
  /** `murmur3`: by the token of the default partitioner; `bytes`: by the key itself, as virtual tables are. */
  readonly order: 'murmur3' | 'bytes'
}

export interface Partition {
  /** The key's cells. */
  readonly key: readonly Buffer[]
  readonly token: bigint
  /** Rows, by number. */
  readonly from: number
  to: number
}

/** The columns of a table, with their keys found. */
export function shapeOf(
  keyspace: string,
  name: string,
  columns: readonly TableColumn[],
  order: TableShape['order'],
  shown = columns.length,
): TableShape {
  const keyOf = (kind: TableColumn['kind']): number[] =>
    columns
      .map((_, index) => index)
      .filter((index) => columns[index]!.kind === kind)
      .sort((a, b) => columns[a]!.position - columns[b]!.position)
  return {
    keyspace,
    name,
    columns,
    shown,
    partitionKey: keyOf('partition_key'),
    clusteringKey: keyOf('clustering'),
    order,
  }
}

/** One row, looked at in its place; `at` moves it. */
export class RowView {
  readonly #lengths: Int32Array
  readonly #starts: Int32Array
  #buffer: Buffer = Buffer.alloc(0)
  #start = 0
  /** The end of the row that was looked at last. */
  end = 0

  constructor(columnCount: number) {
    this.#lengths = new Int32Array(columnCount)
    this.#starts = new Int32Array(columnCount)
  }

  at(buffer: Buffer, start: number): this {
    this.#buffer = buffer
    this.#start = start
    let at = start
    for (let i = 0; i < this.#lengths.length; i++) {
      const bytes = buffer.readInt32BE(at)
      at += 4
      this.#lengths[i] = bytes
      this.#starts[i] = at
      if (bytes > 0) at += bytes
    }
    this.end = at
    return this
  }

  /** One that stays where this one is now. */
  copy(): RowView {
    return new RowView(this.#lengths.length).at(this.#buffer, this.#start)
  }

  /** A view. */
  cell(index: number): Buffer | null {
    const bytes = this.#lengths[index]!
    if (bytes < 0) return null
    const start = this.#starts[index]!
    return this.#buffer.subarray(start, start + bytes)
  }
}

/** Rows by number, partitions in order. */
export class Table {
  readonly shape: TableShape
  readonly partitions: readonly Partition[]
  readonly bytes: number
  readonly #pages: readonly Buffer[]
  readonly #pageOf: Uint16Array
  readonly #startOf: Uint32Array

  constructor(builder: TableBuilder) {
    this.shape = builder.shape
    this.#pages = builder.pages
    this.#pageOf = Uint16Array.from(builder.pageOf)
    this.#startOf = Uint32Array.from(builder.startOf)
    this.partitions = builder.partitions.toSorted(comparePartitions)
    this.bytes = builder.pages.reduce((bytes, page) => bytes + page.length, this.#startOf.length * 6)
  }

  get rowCount(): number {
    return this.#startOf.length
  }

  view(view: RowView, row: number): RowView {
    return view.at(this.#pages[this.#pageOf[row]!]!, this.#startOf[row]!)
  }

  /** Of cells that are at hand. Rows of a partition must stand together and in order. */
  static of(shape: TableShape, rows: readonly (readonly (Buffer | null)[])[]): Table {
    const builder = new TableBuilder(shape)
    const body = new BodyWriter()
    for (const row of rows) for (const cell of row) body.bytes(cell)
    builder.addPage(body.take(), 0, rows.length)
    return new Table(builder)
  }
}

/** Pages of rows are added as they come. */
export class TableBuilder {
  readonly shape: TableShape
  readonly pages: Buffer[] = []
  readonly pageOf: number[] = []
  readonly startOf: number[] = []
  readonly partitions: Partition[] = []
  /** Of the pages. */
  bytes = 0
  readonly #view: RowView
  #last: Partition | undefined

  constructor(shape: TableShape) {
    this.shape = shape
    this.#view = new RowView(shape.columns.length)
  }

  /** `rowCount` rows that stand in `page` from `start`; it is kept. */
  addPage(page: Buffer, start: number, rowCount: number): void {
    this.pages.push(page)
    this.bytes += page.length
    let at = start
    for (let i = 0; i < rowCount; i++) {
      const row = this.startOf.length
      this.#view.at(page, at)
      const last = this.#last
      if (last !== undefined && this.#isOf(last)) last.to = row + 1
      else {
        const key = this.shape.partitionKey.map((index) => this.#view.cell(index) ?? Buffer.alloc(0))
        this.#last = { key, token: tokenOf(this.shape.order, key), from: row, to: row + 1 }
        this.partitions.push(this.#last)
      }
      this.pageOf.push(this.pages.length - 1)
      this.startOf.push(at)
      at = this.#view.end
    }
  }

  #isOf({ key }: Partition): boolean {
    return this.shape.partitionKey.every((index, i) => this.#view.cell(index)?.equals(key[i]!) === true)
  }
}

export function tokenOf(order: TableShape['order'], key: readonly Buffer[]): bigint {
  if (order === 'bytes') return 0n
  const serialised = compositeKey(key)
  murmur3Token(serialised, 0, serialised.length)
  return (BigInt(token.high) << 32n) | BigInt(token.low >>> 0)
}

export function comparePartitions(a: Pick<Partition, 'key' | 'token'>, b: Pick<Partition, 'key' | 'token'>): number {
  if (a.token !== b.token) return a.token < b.token ? -1 : 1
  for (let i = 0; i < a.key.length; i++) {
    const difference = Buffer.compare(a.key[i]!, b.key[i]!)
    if (difference !== 0) return difference
  }
  return 0
}
