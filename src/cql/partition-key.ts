/**
 * The partition key as Cassandra hashes it (`db/marshal/CompositeType.java`): the value itself where one column makes the
 * key; where several do, for each
 *
 *   [ length: 2 bytes, unsigned ][ value ][ 0 ]
 */
import { RingfenceError } from '../base/errors.ts'

/** What a component takes beside its value. */
export const componentOverheadBytes = 3
/** What the length can say. Cassandra refuses a longer key. */
export const componentBytesMax = 0xffff

/** The key of `parts`, one for each column of it, in the table's order. Throws `INVALID` where a component is too long. */
export function compositeKey(parts: readonly Buffer[]): Buffer {
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  const key = Buffer.allocUnsafe(parts.reduce((bytes, part) => bytes + part.length + componentOverheadBytes, 0))
  let at = 0
  for (const part of parts) {
    if (part.length > componentBytesMax) {
      throw new RingfenceError(
        'INVALID',
        `a partition key component of ${part.length} bytes exceeds ${componentBytesMax}`,
      )
    }
    at = writeComponent(key, at, part, 0, part.length)
  }
  return key
}

/**
 * Writes `source[start..end)` as a component at `at`. `buffer` must have room for `end - start + componentOverheadBytes`,
 * and the value at most `componentBytesMax` bytes: the caller compares both.
 *
 * @returns where the next component begins
 */
export function writeComponent(buffer: Buffer, at: number, source: Buffer, start: number, end: number): number {
  const bytes = end - start
  buffer[at] = bytes >>> 8
  buffer[at + 1] = bytes
  let to = at + 2
  // A call of copy() costs more than a short value.
  if (bytes <= 32) for (let from = start; from < end; from++) buffer[to++] = source[from]!
  else to += source.copy(buffer, to, start, end)
  buffer[to] = 0
  return to + 1
}
