/**
 * The token of the row that a request is about, from the values bound to the partition key's markers. Read where they lie, without
 * believing a length: what does not fit gives no token, and the request goes wherever there is room. The sidecar reads it to the last
 * byte and says what is wrong with it.
 */

import type { Envelope } from '../../cql/envelope.ts'
import { murmur3Token } from '../../cql/murmur3.ts'
import { componentOverheadBytes, writeComponent } from '../../cql/partition-key.ts'
import type { ProtocolVersion } from '../../cql/protocol.ts'
import { Consistency, envelopeHeaderBytes, Flag, headerFlags, QueryFlag } from '../../cql/protocol.ts'
import type { BatchPart, BatchView, ParamsView } from '../../cql/requests.ts'

/** More columns than any table's partition key has; a bit for each in a number. */
const columnsMax = 30
/** `FBUtilities.MAX_UNSIGNED_SHORT`: Cassandra takes no longer partition key. */
const keyBytesMax = 65_535

/** Where the columns of a partition key are bound. */
export class KeyMarkers {
  readonly count: number
  /** The column, in key order, that a marker is bound to, by the marker's place; −1 for others. Ends with the last marker that counts. */
  readonly columnOf: Int16Array
  /** The markers' names, in key order, for requests that name their values; undefined where one has none. */
  readonly names: readonly string[] | undefined

  private constructor(markers: readonly number[], names: readonly (string | undefined)[]) {
    this.count = markers.length
    this.columnOf = new Int16Array(Math.max(...markers) + 1).fill(-1)
    for (const [column, marker] of markers.entries()) this.columnOf[marker] = column
    const ofKey = markers.map((marker) => names[marker])
    this.names = ofKey.every((name) => name !== undefined) ? ofKey : undefined
  }

  /** `markers[i]` is the place of the marker of column `i`. Undefined where there are none, too many, or one for two columns. */
  static of(markers: readonly number[], names: readonly (string | undefined)[]): KeyMarkers | undefined {
    const { length } = markers
    if (length === 0 || length > columnsMax || new Set(markers).size < length) return undefined
    return new KeyMarkers(markers, names)
  }
}

const starts = new Int32Array(columnsMax)
const ends = new Int32Array(columnsMax)
const scratch = Buffer.alloc(keyBytesMax + componentOverheadBytes * columnsMax)

/** Puts the token of an EXECUTE into `token` of murmur3.ts; false where it has none that can be told here. */
export function tokenOfExecute(key: KeyMarkers, version: ProtocolVersion, execute: Envelope): boolean {
  const { bytes: buffer, end } = execute
  let at = skipShortBytes(buffer, executeAt(execute), end)
  if (version >= 5) at = skipShortBytes(buffer, at, end)
  const flagsAt = at + 2
  at = flagsAt + (version >= 5 ? 4 : 1)
  if (at + 2 > end) return false
  // The flags that matter are in the last byte of the [int] that v5 has.
  const flags = buffer[at - 1]!
  if ((flags & (QueryFlag.VALUES | QueryFlag.NAMES)) !== QueryFlag.VALUES) return false
  const valueCount = (buffer[at]! << 8) | buffer[at + 1]!
  return valueCount >= key.columnOf.length && tokenOfValues(key, buffer, at + 2, end)
}

/**
 * Where an EXECUTE itself begins, with the [short] length of its id: behind the header and a custom payload, which says nothing of where it
 * belongs. `end` where it is not whole.
 */
export function executeAt({ bytes: buffer, start, end }: Envelope): number {
  let at = start + envelopeHeaderBytes
  if ((headerFlags(buffer, start) & Flag.CUSTOM_PAYLOAD) === 0) return at
  if (at + 2 > end) return end
  let entries = (buffer[at]! << 8) | buffer[at + 1]!
  at += 2
  for (; entries > 0 && at < end; entries--) {
    at = skipShortBytes(buffer, at, end)
    if (at + 4 > end) return end
    const bytes = buffer.readInt32BE(at)
    at += 4 + Math.max(bytes, 0)
  }
  return Math.min(at, end)
}

/** Whether an EXECUTE is a read under Paxos; true for one that is not whole. */
export function isSerial(version: ProtocolVersion, execute: Envelope): boolean {
  const { bytes: buffer, end } = execute
  let at = skipShortBytes(buffer, executeAt(execute), end)
  if (version >= 5) at = skipShortBytes(buffer, at, end)
  if (at + 2 > end) return true
  const consistency = (buffer[at]! << 8) | buffer[at + 1]!
  return consistency === Consistency.SERIAL || consistency === Consistency.LOCAL_SERIAL
}

/** Of a request whose values may have names. */
export function tokenOfParams(key: KeyMarkers, params: ParamsView): boolean {
  if (!params.named) {
    return (
      params.valueCount >= key.columnOf.length &&
      tokenOfValues(key, params.buffer, params.valuesStart, params.valuesEnd)
    )
  }
  if (key.names === undefined) return false
  let found = 0
  for (let i = 0; i < params.valueCount; i++) {
    const bytes = params.valueAt(i)
    const column = key.names.indexOf(params.lastName)
    if (column < 0) continue
    // Of two equal names the first counts (`cql3/QueryOptions.java`); here neither is trusted.
    if (bytes < 0 || (found & (1 << column)) !== 0) return false
    found |= 1 << column
    starts[column] = params.valueStart
    ends[column] = params.valueEnd
  }
  return found === 2 ** key.count - 1 && tokenOfKey(key, params.buffer)
}

/** Of one statement of a BATCH. */
export function tokenOfPart(key: KeyMarkers, batch: BatchView, part: BatchPart): boolean {
  return part.valueCount >= key.columnOf.length && tokenOfValues(key, batch.buffer, part.valuesStart, part.valuesEnd)
}

/** [value]s stand in `buffer[at..end)`, at least as many as count. */
function tokenOfValues(key: KeyMarkers, buffer: Buffer, first: number, end: number): boolean {
  const { columnOf } = key
  let at = first
  for (let marker = 0; marker < columnOf.length; marker++) {
    if (at + 4 > end) return false
    const bytes = (buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!
    at += 4
    const column = columnOf[marker]!
    if (column >= 0) {
      if (bytes < 0) return false
      starts[column] = at
      ends[column] = at + bytes
    }
    if (bytes > 0) at += bytes
    if (at > end) return false
  }
  return tokenOfKey(key, buffer)
}

/** One column is the key as it stands; several are put together as `CompositeType` does. */
function tokenOfKey(key: KeyMarkers, buffer: Buffer): boolean {
  if (key.count === 1) {
    if (ends[0]! - starts[0]! > keyBytesMax) return false
    murmur3Token(buffer, starts[0]!, ends[0]!)
    return true
  }
  let bytes = 0
  for (let column = 0; column < key.count; column++) bytes += ends[column]! - starts[column]!
  if (bytes > keyBytesMax) return false
  let at = 0
  for (let column = 0; column < key.count; column++) {
    at = writeComponent(scratch, at, buffer, starts[column]!, ends[column]!)
  }
  murmur3Token(scratch, 0, at)
  return true
}

function skipShortBytes(buffer: Buffer, at: number, end: number): number {
  return at + 2 <= end ? at + 2 + ((buffer[at]! << 8) | buffer[at + 1]!) : end
}
