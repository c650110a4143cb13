/**
 * Rows of schema tables where they lie in the node's answers, and a digest over them.
 *
 * Rule: nothing is made for a row or a cell but what is asked for. A schema has hundreds of thousands of cells, and an object for each keeps
 * the garbage collector busy for seconds.
 */

import { createHash } from 'node:crypto'
import { RingfenceError } from '../../base/errors.ts'
import { readRowsLayout } from '../../cql/answers/rows.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'

const version = 4
const nullCell = -1

/** Goes over the rows of some answers, page by page. What it gives is always itself: look at the row before the next is asked for. */
export class SchemaRows implements Iterable<SchemaRows> {
  readonly #answers: readonly Buffer[]
  #answer: Buffer = Buffer.alloc(0)
  #start = 0
  #end = 0
  /** Where each cell begins, and its length; as many as the answer has columns. */
  #cells = new Int32Array(0)

  constructor(answers: readonly Buffer[]) {
    this.#answers = answers
  }

  *[Symbol.iterator](): Generator<this, undefined> {
    for (const answer of this.#answers) {
      const { columnCount, rowCount, rowsAt } = readRowsLayout(wholeEnvelope(answer), version)
      this.#answer = answer
      this.#end = rowsAt
      this.#cells = new Int32Array(2 * columnCount)
      for (let row = 0; row < rowCount; row++) {
        this.#next()
        yield this
      }
    }
  }

  /** '' for null, and where there is no such column. */
  text(column: number): string {
    const length = this.#lengthOf(column)
    const at = this.#cells[2 * column]!
    return length <= 0 ? '' : this.#answer.toString('utf8', at, at + length)
  }

  /** 0 for null: a table without a default time to live says 0 or nothing. */
  integer(column: number): number {
    return this.#lengthOf(column) === 4 ? this.#answer.readInt32BE(this.#cells[2 * column]) : 0
  }

  /** In place. */
  bytes(column: number): Buffer | null {
    const length = this.#lengthOf(column)
    if (length < 0) return null
    const at = this.#cells[2 * column]!
    return this.#answer.subarray(at, at + length)
  }

  /** The row with the lengths of its cells. */
  digestInto(digest: RowsDigest): void {
    digest.add(this.#answer, this.#start, this.#end)
  }

  #lengthOf(column: number): number {
    return this.#cells[2 * column + 1] ?? nullCell
  }

  #next(): void {
    this.#start = this.#end
    const { length } = this.#answer
    let at = this.#start
    for (let cell = 0; cell < this.#cells.length; cell += 2) {
      if (at + 4 > length) throw cutShort()
      const bytes = this.#answer.readInt32BE(at)
      at += 4
      this.#cells[cell] = at
      this.#cells[cell + 1] = bytes
      if (bytes > 0) at += bytes
      if (at > length) throw cutShort()
    }
    this.#end = at
  }
}

/** So much is hashed in one go, which takes a tenth of a millisecond. */
const hashedMax = 64 * 1024
/** No cell has this length. */
const endOfList = Buffer.from([0xff, 0xff, 0xff, 0xfe])

/** Over lists of rows: every cell with its length, so that no content can look like another. What lies together is hashed together. */
export class RowsDigest {
  readonly #hash = createHash('sha256')
  #buffer: Buffer = endOfList
  #start = 0
  #end = 0

  /** Whole rows, as they stand in an answer. */
  add(buffer: Buffer, start: number, end: number): void {
    if (buffer === this.#buffer && start === this.#end && end - this.#start <= hashedMax) {
      this.#end = end
      return
    }
    this.#flush()
    this.#buffer = buffer
    this.#start = start
    this.#end = end
  }

  endList(): void {
    this.#flush()
    this.#hash.update(endOfList)
  }

  /** Once. */
  text(): string {
    this.#flush()
    return this.#hash.digest('base64')
  }

  #flush(): void {
    if (this.#end > this.#start) this.#hash.update(this.#buffer.subarray(this.#start, this.#end))
    this.#start = this.#end
  }
}

function cutShort(): RingfenceError {
  return new RingfenceError('PROTOCOL', 'rows of the schema end too early')
}
