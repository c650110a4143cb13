/** Rows taken out of an answer because the client may not see what they are about. The rest stays as it was, byte for byte. */
import { RingfenceError } from '../../base/errors.ts'
import type { Envelope } from '../envelope.ts'
import type { ProtocolVersion } from '../protocol.ts'
import { BodyReader } from '../reader.ts'
import type { Column } from '../responses.ts'
import { readRowsLayout } from './rows.ts'
import { writeLength } from './splice.ts'

/**
 * Whether a row stays. `read` gives the text in one of its columns, by place: null for null, for a column that is no text and for
 * one that is not there. It is good during the call only.
 */
export type Keep = (read: (index: number) => string | null, columns: readonly Column[]) => boolean

/** A step is so many rows or bytes. To decide on a row takes a few questions to Cedar now and then. */
const rowsAStep = 4
const bytesAStep = 128 * 1024

/** The same answer with no row. @throws RingfenceError PROTOCOL where it is malformed */
export function withoutRows(envelope: Envelope, version: ProtocolVersion): Buffer {
  const { bytes, start } = envelope
  const { rowCountAt, rowsAt } = readRowsLayout(envelope, version)
  const whole = Buffer.from(bytes.subarray(start, rowsAt))
  whole.writeInt32BE(0, rowCountAt - start)
  writeLength(whole)
  return whole
}

/**
 * The same answer without the rows that `keep` refuses; bytes behind the last row are dropped. In steps; the envelope
 * stays as it is meanwhile.
 *
 * @throws RingfenceError PROTOCOL where the answer is malformed; UPSTREAM where it came without metadata
 */
export function* filterRowsInSteps(
  envelope: Envelope,
  version: ProtocolVersion,
  keep: Keep,
): Generator<undefined, Buffer> {
  const { bytes: buf, start, end } = envelope
  const { columns, columnCount, rowCount, rowCountAt, rowsAt } = readRowsLayout(envelope, version)
  if (columns === undefined) {
    throw new RingfenceError('UPSTREAM', 'an answer whose rows have to be chosen came without its columns')
  }
  const isText = columns.map(({ type }) => type.kind === 'text' || type.kind === 'ascii')
  const reader = new BodyReader().reset(buf, rowsAt, end)
  const valueReader = new BodyReader()
  // Where the values of one row end, and how long they are.
  const ends = new Int32Array(columnCount)
  const lengths = new Int32Array(columnCount)
  const read = (index: number): string | null => {
    if (isText[index] !== true) return null
    const bytes = lengths[index]!
    return bytes < 0 ? null : valueReader.reset(buf, ends[index]! - bytes, ends[index]!).text(bytes)
  }
  const filtered = Buffer.allocUnsafe(end - start)
  let written = buf.copy(filtered, 0, start, rowsAt)
  let keptCount = 0
  // Rows that stay and stand side by side are copied together.
  let runAt = rowsAt
  let [stepRow, stepAt] = [0, rowsAt]
  for (let row = 0; row < rowCount; row++) {
    const rowAt = reader.at
    if (row - stepRow >= rowsAStep || rowAt - stepAt >= bytesAStep) {
      written += buf.copy(filtered, written, runAt, rowAt)
      runAt = stepAt = rowAt
      stepRow = row
      yield
    }
    for (let i = 0; i < columnCount; i++) {
      lengths[i] = reader.skipBytes()
      ends[i] = reader.at
    }
    if (keep(read, columns)) {
      keptCount++
      continue
    }
    written += buf.copy(filtered, written, runAt, rowAt)
    runAt = reader.at
  }
  written += buf.copy(filtered, written, runAt, reader.at)
  filtered.writeInt32BE(keptCount, rowCountAt - start)
  const whole = filtered.subarray(0, written)
  writeLength(whole)
  return whole
}
