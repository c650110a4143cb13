/**
 * A plan, done over a table: one page of the answer.
 *
 * Rule: a row that `exists` denies is not there for anything: not for a group, a limit, a page or an aggregate.
 */
import { RingfenceError } from '../../base/errors.ts'
import { BodyReader } from '../reader.ts'
import { BodyWriter } from '../writer.ts'
import { compareValues } from './compare.ts'
import type { Frame } from './compiled.ts'
import { noLimit, type Plan } from './plan.ts'
import { comparePartitions, type Partition, RowView, type Table, tokenOf } from './table.ts'
import { invalid } from './unsupported.ts'

export interface PageWanted {
  /** Rows; 0 for all of them. */
  readonly rows: number
  /** What `Page.state` was of the page before. */
  readonly state: Buffer | undefined
  /** Of what the rows of the page take together. */
  readonly bytesMax: number
}

export interface Page {
  readonly rowCount: number
  /** [bytes] behind [bytes]. */
  readonly rows: Buffer
  /** Where the next page begins; undefined where there is none. */
  readonly state: Buffer | undefined
}

/** Rows looked at, relations tested and expressions evaluated between two places where the caller may do something else. */
const stepCost = 512

/**
 * Yields now and then, so that a long answer can be made in pieces.
 *
 * @throws RingfenceError PROTOCOL for a state that is none, INVALID where values cannot be had
 */
export function* run(
  plan: Plan,
  table: Table,
  exists: (row: RowView) => boolean,
  wanted: PageWanted,
): Generator<void, Page> {
  if (plan.sorted && wanted.rows > 0 && plan.limit > wanted.rows) {
    throw invalid(
      'Cannot page queries with both ORDER BY and a IN restriction on the partition key; you must either remove the ORDER BY or the IN and sort client side, or disable paging for this query',
    )
  }
  const resumed = wanted.state === undefined ? undefined : readState(plan, wanted.state)
  const maker = new PageMaker(plan, wanted, resumed)
  const view = new RowView(plan.shape.columns.length)
  let cost = 0
  for (const { partition, row } of rowsOf(plan, table, resumed)) {
    cost += 1 + plan.where.cost
    table.view(view, row)
    if (
      exists(view) &&
      plan.where.tests.every((test) => test(view)) &&
      resumed?.isPast(plan, partition, view) !== false
    ) {
      if (!maker.take(view, partition)) break
      cost += plan.compiler.expressions
    }
    if (cost >= stepCost) {
      cost = 0
      yield
    }
  }
  return maker.finish()
}

/** Rows that may matter, in the order of the answer but for those that have to be sorted afterwards. */
function* rowsOf(
  plan: Plan,
  table: Table,
  resumed: Position | undefined,
): Generator<{ partition: Partition; row: number }> {
  const { where, descending } = plan
  let { partitions } = table
  if (where.keysGiven) {
    const keys = where.keys.map((values) => new Set(values.map((value) => value.toString('latin1'))))
    partitions = partitions
      .filter(({ key }) => key.every((value, i) => keys[i]!.has(value.toString('latin1'))))
      .toSorted((a, b) => compareKeys(plan, a.key, b.key))
  }
  if (plan.sorted) {
    yield* sortedRows(plan, table, partitions)
    return
  }
  for (const partition of partitions) {
    if (resumed !== undefined && resumed.comparePartition(plan, partition) < 0) continue
    for (let i = partition.from; i < partition.to; i++) {
      yield { partition, row: descending ? partition.to - 1 - (i - partition.from) : i }
    }
  }
}

interface Head {
  readonly partition: Partition
  /** Among equals, the partition that comes first is first. */
  readonly place: number
  /** Rows of it that were given. */
  given: number
  key: readonly Buffer[]
}

/** ORDER BY over several partitions, each of which is in order: the least of their next rows, again and again. */
function* sortedRows(
  plan: Plan,
  table: Table,
  partitions: readonly Partition[],
): Generator<{ partition: Partition; row: number }> {
  const { clusteringKey, columns } = plan.shape
  const view = new RowView(columns.length)
  const direction = plan.descending ? -1 : 1
  const rowOf = ({ from, to }: Partition, given: number): number => (plan.descending ? to - 1 - given : from + given)
  const keyOf = (row: number): Buffer[] => {
    table.view(view, row)
    return clusteringKey.map((index) => view.cell(index) ?? Buffer.alloc(0))
  }
  const isBefore = (a: Head, b: Head): boolean => {
    const difference = direction * compareClustering(plan, a.key, b.key, clusteringKey.length)
    return difference < 0 || (difference === 0 && a.place < b.place)
  }
  // A heap: no head comes after the two that stand below it.
  const heap: Head[] = []
  for (const [place, partition] of partitions.entries()) {
    heap.push({ partition, place, given: 0, key: keyOf(rowOf(partition, 0)) })
    for (let at = heap.length - 1; at > 0; ) {
      const above = (at - 1) >> 1
      if (!isBefore(heap[at]!, heap[above]!)) break
      swap(heap, at, above)
      at = above
    }
  }
  for (let top = heap[0]; top !== undefined; top = heap[0]) {
    const { partition } = top
    yield { partition, row: rowOf(partition, top.given) }
    top.given++
    if (top.given < partition.to - partition.from) top.key = keyOf(rowOf(partition, top.given))
    else {
      const last = heap.pop()!
      if (heap.length > 0) heap[0] = last
    }
    for (let at = 0; ; ) {
      let least = at
      for (const below of [2 * at + 1, 2 * at + 2]) {
        if (below < heap.length && isBefore(heap[below]!, heap[least]!)) least = below
      }
      if (least === at) break
      swap(heap, at, least)
      at = least
    }
  }
}

function swap(heap: Head[], a: number, b: number): void {
  const head = heap[a]!
  heap[a] = heap[b]!
  heap[b] = head
}

function compareKeys(plan: Plan, a: readonly Buffer[], b: readonly Buffer[]): number {
  const { partitionKey, columns } = plan.shape
  for (const [i, index] of partitionKey.entries()) {
    const difference = compareValues(columns[index]!.type, a[i]!, b[i]!)
    if (difference !== 0) return difference
  }
  return 0
}

/** By the first `count` columns of the clustering key, in its own order. */
function compareClustering(plan: Plan, a: readonly Buffer[], b: readonly Buffer[], count: number): number {
  const { clusteringKey, columns } = plan.shape
  for (let i = 0; i < count; i++) {
    const column = columns[clusteringKey[i]!]!
    const difference = compareValues(column.type, a[i]!, b[i]!)
    if (difference !== 0) return column.descending === true ? -difference : difference
  }
  return 0
}

/** The last row that a page was made of. */
class Position {
  readonly key: readonly Buffer[]
  readonly token: bigint
  readonly clustering: readonly Buffer[]
  /** Of the limits, what is left. */
  readonly left: number
  readonly leftInPartition: number

  constructor(plan: Plan, cells: readonly Buffer[], left: number, leftInPartition: number) {
    const { partitionKey, order } = plan.shape
    this.key = cells.slice(0, partitionKey.length)
    this.token = tokenOf(order, this.key)
    this.clustering = cells.slice(partitionKey.length)
    this.left = left
    this.leftInPartition = leftInPartition
  }

  /** Where `partition` stands beside the one of this row. */
  comparePartition(plan: Plan, partition: Partition): number {
    return plan.where.keysGiven ? compareKeys(plan, partition.key, this.key) : comparePartitions(partition, this)
  }

  /** Whether a row comes after what this and the pages before it have said. */
  isPast(plan: Plan, partition: Partition, row: RowView): boolean {
    if (this.comparePartition(plan, partition) > 0) return true
    if (plan.unit === 'partition') return false
    const { clusteringKey, partitionKey } = plan.shape
    const count = plan.unit === 'group' ? Math.max(0, plan.groupPrefix + 1 - partitionKey.length) : clusteringKey.length
    const clustering = clusteringKey.map((index) => row.cell(index) ?? Buffer.alloc(0))
    const difference = compareClustering(plan, clustering, this.clustering, count)
    return plan.descending ? difference < 0 : difference > 0
  }
}

const stateVersion = 1

function readState(plan: Plan, state: Buffer): Position {
  const { partitionKey, clusteringKey } = plan.shape
  // Cassandra reads it with the envelope, before it looks at the statement.
  const wrong = (): Error => new RingfenceError('PROTOCOL', 'Invalid value for the paging state')
  try {
    const reader = new BodyReader().reset(state, 0, state.length)
    if (reader.byte() !== stateVersion) throw wrong()
    const [left, leftInPartition] = [reader.int(), reader.int()]
    const cells: Buffer[] = []
    for (let i = 0; i < partitionKey.length + clusteringKey.length; i++) cells.push(reader.bytes() ?? Buffer.alloc(0))
    reader.assertDone()
    return new Position(plan, cells, left, leftInPartition)
  } catch {
    throw wrong()
  }
}

interface OpenGroup {
  readonly frame: Frame
  /** Of the key of its first row. */
  readonly cells: readonly Buffer[]
  /** And of its last. */
  last: readonly Buffer[]
}

/** Where the next page begins. */
interface Mark {
  readonly cells: readonly Buffer[]
  readonly left: number
  readonly leftInPartition: number
}

function writeState({ cells, left, leftInPartition }: Mark): Buffer {
  const body = new BodyWriter().byte(stateVersion).int(left).int(leftInPartition)
  for (const cell of cells) body.bytes(cell)
  return body.take()
}

/** Takes rows one by one and makes of them the rows of the answer. */
class PageMaker {
  readonly #plan: Plan
  readonly #wanted: PageWanted
  readonly #body = new BodyWriter()
  #bytes = 0
  rowCount = 0
  #left: number
  #leftInPartition: number
  #partition: Partition | undefined
  /** The row that the answer's last row ends with. */
  #last: Mark | undefined
  /** The group that is not ended yet. */
  #group: OpenGroup | undefined
  #more = false

  constructor(plan: Plan, wanted: PageWanted, resumed: Position | undefined) {
    this.#plan = plan
    this.#wanted = wanted
    this.#left = resumed?.left ?? plan.limit
    this.#leftInPartition = resumed?.leftInPartition ?? plan.perPartitionLimit
    if (resumed !== undefined) this.#partitionOf = resumed.key
  }

  /** The key of the partition whose limit is counted down. */
  #partitionOf: readonly Buffer[] | undefined

  /** False when the page is made. */
  take(row: RowView, partition: Partition): boolean {
    const { unit } = this.#plan
    if (unit === 'all' || unit === 'group') return this.#takeInGroup(row, partition)
    const isNew = partition !== this.#partition
    this.#enter(partition)
    if (unit === 'partition' && !isNew) return true
    if (this.#leftInPartition <= 0) return true
    if (this.#isFull()) return false
    this.#emit({ row, aggregates: [] })
    if (this.rowCount === this.#wanted.rows) this.#mark(cellsOf(this.#plan, row))
    return true
  }

  /** The end of the rows, or of the page. */
  finish(): Page {
    const group = this.#group
    if (!this.#more && group !== undefined) this.#endGroup(group)
    if (this.#plan.unit === 'all' && group === undefined && this.#wanted.state === undefined) {
      // Of no rows there is one row all the same.
      this.#emit({ row: undefined, aggregates: this.#plan.compiler.fresh() })
    }
    const state = this.#more && this.#last !== undefined ? writeState(this.#last) : undefined
    return { rowCount: this.rowCount, rows: this.#body.take(), state }
  }

  #takeInGroup(row: RowView, partition: Partition): boolean {
    const { compiler, unit, groupPrefix } = this.#plan
    const cells = cellsOf(this.#plan, row)
    const open = this.#group
    if (open !== undefined && unit === 'group' && !sameCells(open.cells, cells, groupPrefix + 1)) this.#endGroup(open)
    if (this.#group === undefined) {
      this.#enter(partition)
      if (this.#leftInPartition <= 0) return true
      if (this.#isFull()) return false
      // A view of its own, for the row that is handed in moves on.
      this.#group = { frame: { row: row.copy(), aggregates: compiler.fresh() }, cells, last: cells }
    }
    const group = this.#group
    group.last = cells
    const frame = { row, aggregates: [] }
    for (const [i, { value }] of compiler.aggregates.entries()) group.frame.aggregates[i]!.add(value(frame))
    return true
  }

  #endGroup({ frame, last }: OpenGroup): void {
    this.#group = undefined
    this.#emit(frame)
    this.#mark(last)
  }

  #enter(partition: Partition): void {
    if (partition === this.#partition) return
    this.#partition = partition
    const key = this.#partitionOf
    const goesOn = key?.every((value, i) => value.equals(partition.key[i]!)) === true
    if (!goesOn) this.#leftInPartition = this.#plan.perPartitionLimit
    this.#partitionOf = undefined
  }

  /** Whether nothing more may be taken; then there is more where the page is what ends it, and a row is at hand. */
  #isFull(): boolean {
    if (this.#left <= 0) return true
    if (this.#wanted.rows <= 0 || this.rowCount < this.#wanted.rows) return false
    this.#more = true
    return true
  }

  #emit(frame: Frame): void {
    for (const output of this.#plan.outputs) {
      const value = output(frame)
      this.#bytes += 4 + (value?.length ?? 0)
      if (this.#bytes > this.#wanted.bytesMax) {
        throw invalid(`the answer is larger than ${this.#wanted.bytesMax} bytes: ask for fewer columns, or for pages`)
      }
      this.#body.bytes(value)
    }
    this.rowCount++
    if (this.#left !== noLimit) this.#left--
    if (this.#leftInPartition !== noLimit) this.#leftInPartition--
  }

  #mark(cells: readonly Buffer[]): void {
    this.#last = { cells, left: this.#left, leftInPartition: this.#leftInPartition }
  }
}

/** The cells of partition and clustering key. */
function cellsOf({ shape }: Plan, row: RowView): Buffer[] {
  return [...shape.partitionKey, ...shape.clusteringKey].map((index) => row.cell(index) ?? Buffer.alloc(0))
}

function sameCells(a: readonly Buffer[], b: readonly Buffer[], count: number): boolean {
  for (let i = 0; i < count; i++) if (!a[i]!.equals(b[i]!)) return false
  return true
}
