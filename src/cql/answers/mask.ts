/**
 * Masked columns: the values of an answer replaced before the client sees it, by the metadata that came with the same answer.
 *
 * Rule: a column that has to be masked and cannot be is refused with the whole answer, whether or not it has rows; nothing is shown
 * half-masked. Null stays null. What stands behind the last row is not understood and therefore dropped.
 */
import { RingfenceError } from '../../base/errors.ts'
import type { ProtocolVersion } from '../protocol.ts'
import type { Column } from '../responses.ts'
import { Growing } from './growing.ts'
import { KeyedHash, type Mask, maskerOf, type ValueMasker, writeMasked } from './masker.ts'
import { readRowsPlace } from './rows.ts'
import { writeLength } from './splice.ts'

export type { Mask } from './masker.ts'

/** Which mask a column of the answer gets; `name` is the answer's own, an alias where the statement gave one. */
export type MaskOf = (name: string, index: number, column: Column) => Mask | undefined

/**
 * The same answer with the values of masked columns replaced.
 *
 * @param hashKey 32 bytes of the mesh; needed for hashes only
 * @throws RingfenceError INVALID, naming column and mask, where a type cannot be masked so; PROTOCOL where the answer is malformed;
 *   UPSTREAM where it came without metadata; UNAVAILABLE for a hash without a key
 */
export function maskRows(
  buf: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
  maskOf: MaskOf,
  hashKey: Buffer,
): Buffer {
  let hash: KeyedHash | undefined
  return changeRows(buf, start, end, version, (column, index) => {
    const mask = maskOf(column.name, index, column)
    if (mask === undefined) return undefined
    if (mask.kind === 'null') return null
    if (mask.kind === 'hash') hash ??= new KeyedHash(hashKey)
    return maskerOf(column, mask, hash)
  })
}

/**
 * The same answer with other values in some columns.
 *
 * @param changerOf what writes a column's values anew; null where they become null, undefined where they stay
 * @throws RingfenceError PROTOCOL where the answer is malformed; UPSTREAM where it came without metadata
 */
export function changeRows(
  buf: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
  changerOf: (column: Column, index: number) => ValueMasker | null | undefined,
): Buffer {
  const place = readRowsPlace(buf, start, end, version)
  const { columns, columnCount, rowCount } = place
  if (columns === undefined) {
    throw new RingfenceError('UPSTREAM', 'an answer that has to be masked came without its columns')
  }
  const maskers = columns.map(changerOf)
  // Masked answers are about as long as they were; what is longer grows.
  const out = new Growing(end - start + 256)
  let copied = start
  let at = place.rowsAt
  for (let row = 0; row < rowCount; row++) {
    for (let i = 0; i < columnCount; i++) {
      const valueAt = at + 4
      if (valueAt > end) throw new RingfenceError('PROTOCOL', 'the message ends too early')
      const bytes = (buf[at]! << 24) | (buf[at + 1]! << 16) | (buf[at + 2]! << 8) | buf[at + 3]!
      if (bytes < 0) {
        at = valueAt
        continue
      }
      if (bytes > end - valueAt) throw new RingfenceError('PROTOCOL', 'the message ends too early')
      const masker = maskers[i]
      if (masker !== undefined) {
        out.copy(buf, copied, at)
        if (masker === null) out.int(-1)
        else writeMasked(out, masker, buf, valueAt, valueAt + bytes)
        copied = valueAt + bytes
      }
      at = valueAt + bytes
    }
  }
  out.copy(buf, copied, at)
  const masked = out.written()
  writeLength(masked)
  return masked
}
