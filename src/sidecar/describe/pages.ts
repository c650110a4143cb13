/**
 * Pages of a description, made here out of the rows that exist for who asks, so that no page shows that something is hidden. As Cassandra does
 * it, a page that is full promises another, and a later one is refused when what is described has changed.
 */

import { createHash } from 'node:crypto'
import { RingfenceError } from '../../base/errors.ts'
import { filterRowsInSteps, type Keep } from '../../cql/answers/filter.ts'
import { readRowsLayout } from '../../cql/answers/rows.ts'
import { splicedInWindows } from '../../cql/answers/splice.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import { MetadataFlag, type ProtocolVersion } from '../../cql/protocol.ts'
import type { ParamsView } from '../../cql/requests.ts'
import { bodyStart } from '../../cql/responses.ts'
import type { Visibility } from '../../policy/engine.ts'
import type { SchemaView } from '../../policy/request.ts'
import type { PagingSeal, SealContext } from '../seal.ts'
import type { MadeOf } from './aggregates.ts'
import { existsFor } from './rows.ts'

/** Where the next page begins, and of which rows. */
const offsetBytes = 4
const digestBytes = 16

/** Their texts name other objects. */
const madeOfOthers: ReadonlySet<string> = new Set(['aggregate', 'materialized_view', 'index'])

/** A RESULT of kind Rows with every row that exists. */
export interface Description {
  readonly envelope: Buffer
  readonly rowCount: number
  /** Equal for equal rows. */
  readonly digest: Buffer
}

const hashedAtOnceBytes = 256 * 1024

/** The node's whole answer, less the rows of what the identity may not see; in steps, as all that is made of it. */
export function* described(
  answer: Buffer,
  version: ProtocolVersion,
  visibility: Visibility,
  schema: SchemaView,
  aggregates: MadeOf,
): Generator<undefined, Description> {
  const keep: Keep = (read, columns) => {
    const of = (name: string): string | null => read(columns.findIndex((column) => column.name === name))
    const row = { keyspace: of('keyspace_name'), type: of('type'), name: of('name') }
    const statement = madeOfOthers.has(row.type ?? '') ? of('create_statement') : null
    return existsFor(visibility, schema, { ...row, statement }, aggregates)
  }
  const envelope = yield* filterRowsInSteps(wholeEnvelope(answer), version, keep)
  const { rowsAt, rowCount } = readRowsLayout(wholeEnvelope(envelope), version)
  const hash = createHash('sha256')
  for (let at = rowsAt; at < envelope.length; at += hashedAtOnceBytes) {
    yield
    hash.update(envelope.subarray(at, at + hashedAtOnceBytes))
  }
  return { envelope, rowCount, digest: hash.digest().subarray(0, digestBytes) }
}

/**
 * The page that a request asks for.
 * @throws RingfenceError INVALID for a paging state that was given for something else, or for what has changed since
 */
export function* pageOf(
  description: Description,
  version: ProtocolVersion,
  params: ParamsView,
  seal: PagingSeal,
  context: SealContext,
): Generator<undefined, Page> {
  const { envelope, rowCount, digest } = description
  const from = params.pagingStateStart < 0 ? 0 : offsetOf(description, params, seal, context)
  const size = params.pageSize ?? 0
  const to = size > 0 ? Math.min(rowCount, from + size) : rowCount
  let at = 0
  const page =
    from === 0 && to === rowCount
      ? envelope
      : yield* filterRowsInSteps(wholeEnvelope(envelope), version, () => {
          const row = at++
          return row >= from && row < to
        })
  const shown = Math.max(0, to - from)
  if (size <= 0 || shown < size) return { envelope: page, rowCount: shown }
  const state = Buffer.concat([Buffer.alloc(offsetBytes), digest])
  state.writeUInt32BE(to, 0)
  return { envelope: yield* withMorePages(page, version, seal.seal(state, context)), rowCount: shown }
}

export interface Page {
  readonly envelope: Buffer
  readonly rowCount: number
}

function offsetOf({ digest }: Description, params: ParamsView, seal: PagingSeal, context: SealContext): number {
  const sealed = params.buffer.subarray(params.pagingStateStart, params.pagingStateEnd)
  const state = seal.open(sealed, context)
  if (state?.length !== offsetBytes + digestBytes) {
    throw new RingfenceError('INVALID', 'Invalid value for the paging state')
  }
  if (!state.subarray(offsetBytes).equals(digest)) {
    throw new RingfenceError(
      'INVALID',
      'The schema has changed since the previous page of the DESCRIBE statement result. Please retry the DESCRIBE statement.',
    )
  }
  return state.readUInt32BE(0)
}

/** A copy of rows without a paging state, with one: flag, and bytes behind the number of columns. */
function* withMorePages(page: Buffer, version: ProtocolVersion, state: Buffer): Generator<undefined, Buffer> {
  const flagsAt = bodyStart(wholeEnvelope(page)) + 4
  const { flags } = readRowsLayout(wholeEnvelope(page), version)
  const bytes = Buffer.allocUnsafe(4 + state.length)
  bytes.writeInt32BE(state.length, 0)
  state.copy(bytes, 4)
  const stateAt = flagsAt + 8
  const envelope = yield* splicedInWindows(page, { from: stateAt, to: stateAt, inserted: bytes })
  envelope.writeInt32BE(flags | MetadataFlag.HAS_MORE_PAGES, flagsAt)
  return envelope
}
