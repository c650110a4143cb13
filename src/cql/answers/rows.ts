/**
 * Where everything stands in a RESULT of kind Rows (native_protocol_v5.spec §4.2.5.2), so that parts of it can be replaced and the
 * rest copied as it is.
 *
 *     kind 2 | flags | column count | [paging state] | [new metadata id, v5] | [column specs] | row count | rows
 *
 * Rule: a flag that is not known may put bytes in between, so it is refused. A reader that is one field off would take one column for
 * another, and show what should be masked (attack B20).
 */
import { RingfenceError } from '../../base/errors.ts'
import type { Envelope } from '../envelope.ts'
import { headerOpcode, MetadataFlag, Opcode, type ProtocolVersion, ResultKind } from '../protocol.ts'
import { BodyReader } from '../reader.ts'
import { bodyStart, type Column, readColumns } from '../responses.ts'

const knownFlags = MetadataFlag.GLOBAL_TABLE_SPEC | MetadataFlag.HAS_MORE_PAGES | MetadataFlag.NO_METADATA

const reader = new BodyReader()

/** Offsets are offsets into the buffer that was read. */
export interface RowsLayout {
  readonly flags: number
  readonly columnCount: number
  /** The bytes of the paging state, behind their length; −1 where there is none. Equal to each other where it is empty. */
  readonly pagingStateStart: number
  readonly pagingStateEnd: number
  /** v5: the id that replaces the one of PREPARED; −1 where there is none. */
  readonly newMetadataIdStart: number
  readonly newMetadataIdEnd: number
  /** Undefined where the node left the metadata out (NO_METADATA). */
  readonly columns: readonly Column[] | undefined
  readonly rowCountAt: number
  readonly rowCount: number
  /** The first row. */
  readonly rowsAt: number
}

/** True for a RESULT of kind Rows. PROTOCOL where the envelope is too short to say. */
export function isRows(envelope: Envelope): boolean {
  const { bytes, start, end } = envelope
  if (headerOpcode(bytes, start) !== Opcode.RESULT) return false
  return reader.reset(bytes, bodyStart(envelope), end).int() === ResultKind.ROWS
}

/** PROTOCOL where it is not a well-formed RESULT of kind Rows; the values of the rows are not looked at. */
export function readRowsLayout(envelope: Envelope, version: ProtocolVersion): RowsLayout {
  if (!isRows(envelope)) throw new RingfenceError('PROTOCOL', 'an answer that is not rows')
  const flags = reader.int()
  const known = version >= 5 ? knownFlags | MetadataFlag.METADATA_CHANGED : knownFlags
  if ((flags & ~known) !== 0) throw new RingfenceError('PROTOCOL', 'unknown flag in the metadata of rows')
  const columnCount = reader.count()
  let pagingStateStart = -1
  let pagingStateEnd = -1
  if ((flags & MetadataFlag.HAS_MORE_PAGES) !== 0) {
    const bytes = reader.skipBytes()
    if (bytes >= 0) {
      pagingStateStart = reader.at - bytes
      pagingStateEnd = reader.at
    }
  }
  let newMetadataIdStart = -1
  let newMetadataIdEnd = -1
  if ((flags & MetadataFlag.METADATA_CHANGED) !== 0) {
    const bytes = reader.skipShortBytes()
    newMetadataIdStart = reader.at - bytes
    newMetadataIdEnd = reader.at
  }
  const columns = (flags & MetadataFlag.NO_METADATA) !== 0 ? undefined : readColumns(reader, flags, columnCount)
  const rowCountAt = reader.at
  const rowCount = reader.count()
  // Every value has four bytes at least, so what is claimed cannot be more than what has come.
  if (rowCount > 0 && (columnCount === 0 || rowCount * columnCount * 4 > reader.remaining)) {
    throw new RingfenceError('PROTOCOL', 'more rows are announced than there are bytes')
  }
  return {
    flags,
    columnCount,
    pagingStateStart,
    pagingStateEnd,
    newMetadataIdStart,
    newMetadataIdEnd,
    columns,
    rowCountAt,
    rowCount,
    rowsAt: reader.at,
  }
}
