/**
 * Masked columns: the values of an answer replaced before the client sees it, by the metadata that came with the same answer.
 *
 * Rule: a column that has to be masked and cannot be is refused with the whole answer, whether or not it has rows; nothing is shown
 * half-masked. Null stays null. What stands behind the last row is not understood and therefore dropped.
 */
import { RingfenceError } from '../../base/errors.ts'
import type { Envelope } from '../envelope.ts'
import type { ProtocolVersion } from '../protocol.ts'
import type { Column } from '../responses.ts'
import { Growing } from './growing.ts'
import { type Mask, maskerOf } from './masker.ts'
import { KeyedHash } from './masking/keyed-hash.ts'
import { stepBytes, type ValueMasker, writeMasked, writeMaskedInSteps } from './masking/value-masker.ts'
import { readRowsLayout } from './rows.ts'
import { writeLength } from './splice.ts'

export type { Mask } from './masker.ts'

/** Which mask a column of the answer gets; `name` is the answer's own, an alias where the statement gave one. */
export type MaskOf = (name: string, index: number, column: Column) => Mask | undefined

/** What writes a column's values anew; null where they become null, undefined where they stay. */
export type ChangerOf = (column: Column, index: number) => ValueMasker | null | undefined

/** For one answer. */
export function maskersBy(maskOf: MaskOf, hashKey: Buffer): ChangerOf {
  let hash: KeyedHash | undefined
  return (column, index) => {
    const mask = maskOf(column.name, index, column)
    if (mask === undefined) return undefined
    if (mask.kind === 'null') return null
    if (mask.kind === 'hash') hash ??= new KeyedHash(hashKey)
    return maskerOf(column, mask, hash)
  }
}

/** A value that stays costs one; one that is written anew as many, and its bytes besides. A slice takes a millisecond or two. */
const changedValueCost = 16
const changedBytesShift = 7
const copiedBytesShift = 10
const sliceCostMax = 8192
/** Of a value that is written anew in steps. */
const stepCost = 4096

/**
 * The same answer with other values in some columns, made at once or slice by slice.
 * Invariant: between two slices everything in front of `#at` is in `#out`, as the client may have it.
 */
export class RowsChange {
  readonly #buf: Buffer
  readonly #end: number
  readonly #maskers: readonly (ValueMasker | null | undefined)[]
  readonly #out: Growing
  #at: number
  #valuesLeft: number
  #column = 0
  /** Of the value in front of `#at`, which is not written to its end. */
  #steps: Generator<undefined, void> | undefined

  /** @throws RingfenceError PROTOCOL where the answer is malformed; UPSTREAM where it came without metadata; and what `changerOf` throws */
  constructor(envelope: Envelope, version: ProtocolVersion, changerOf: ChangerOf) {
    const { bytes, start, end } = envelope
    const { columns, columnCount, rowCount, rowsAt } = readRowsLayout(envelope, version)
    if (columns === undefined) {
      throw new RingfenceError('UPSTREAM', 'an answer that has to be masked came without its columns')
    }
    this.#buf = bytes
    this.#end = end
    this.#maskers = columns.map(changerOf)
    this.#valuesLeft = rowCount * columnCount
    this.#at = rowsAt
    // Masked answers are about as long as they were; what is longer grows.
    this.#out = new Growing(end - start + 256)
    this.#out.copy(bytes, start, rowsAt)
  }

  /** All of it. Throws as `slice` does. */
  whole(): Buffer {
    while (!this.slice(Infinity));
    const changed = this.#out.written()
    writeLength(changed)
    return changed
  }

  /** All of it, slice by slice. */
  *inSlices(): Generator<undefined, Buffer> {
    while (!this.slice()) yield
    const changed = yield* this.#out.writtenInWindows()
    writeLength(changed)
    return changed
  }

  /** Some more values; true when there are no more. Throws PROTOCOL where the answer is malformed, and what a masker throws. */
  slice(costMax: number = sliceCostMax): boolean {
    const buf = this.#buf
    const end = this.#end
    const maskers = this.#maskers
    const out = this.#out
    const columnCount = maskers.length
    let at = this.#at
    let copied = at
    let left = this.#valuesLeft
    let i = this.#column
    let cost = 0
    while ((left > 0 || this.#steps !== undefined) && cost < costMax) {
      if (this.#steps !== undefined) {
        cost += stepCost
        if (this.#steps.next().done === true) this.#steps = undefined
        continue
      }
      const valueAt = at + 4
      if (valueAt > end) throw new RingfenceError('PROTOCOL', 'the message ends too early')
      const bytes = (buf[at]! << 24) | (buf[at + 1]! << 16) | (buf[at + 2]! << 8) | buf[at + 3]!
      if (bytes > end - valueAt) throw new RingfenceError('PROTOCOL', 'the message ends too early')
      const masker = bytes < 0 ? undefined : maskers[i]
      const valueEnd = bytes < 0 ? valueAt : valueAt + bytes
      if (masker === undefined) cost += 1 + ((valueEnd - valueAt) >> copiedBytesShift)
      else {
        // What is done in steps costs as it is done.
        cost += changedValueCost + (Math.min(bytes, stepBytes) >> changedBytesShift)
        out.copy(buf, copied, at)
        if (masker === null) out.int(-1)
        else if (masker.steps !== undefined && bytes > stepBytes)
          this.#steps = writeMaskedInSteps(out, masker, buf, valueAt, valueEnd)
        else writeMasked(out, masker, buf, valueAt, valueEnd)
        copied = valueEnd
      }
      at = valueEnd
      left--
      if (++i === columnCount) i = 0
    }
    out.copy(buf, copied, at)
    this.#at = at
    this.#valuesLeft = left
    this.#column = i
    return left === 0 && this.#steps === undefined
  }
}
