/** The answers themselves: RESULT/Rows for a question about the ring, RESULT/Prepared for a PREPARE of one. Both come of `cql/query`. */
import { createHash } from 'node:crypto'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { preparedEnvelope } from '../../cql/encode.ts'
import { Consistency, type ProtocolVersion } from '../../cql/protocol.ts'
import type { BoundTo } from '../../cql/query/expressions.ts'
import { keyMarkersOf, markersOf } from '../../cql/query/markers.ts'
import { planOf } from '../../cql/query/plan.ts'
import { replyEnvelope } from '../../cql/query/reply.ts'
import { run } from '../../cql/query/run.ts'
import type { ParamsView } from '../../cql/requests.ts'
import { givenId } from '../../link/given-id.ts'
import type { TopologyModel, VirtualHost } from './model.ts'
import type { Question } from './question.ts'
import { tableOf } from './rows.ts'

const keyspace = 'system'

/** What a QUERY or EXECUTE says beside its text, as a copy. */
export interface Asked {
  readonly values: BoundTo
  /** Rows; 0 for all. */
  readonly pageRows: number
  readonly pagingState: Buffer | undefined
}

/**
 * A whole RESULT envelope of kind Rows, with full metadata whatever `skip_metadata` asked for (drivers take either).
 *
 * @param self the host that the client is connected to: the row of `system.local`, and no row of the peers
 * @throws RingfenceError INVALID for values that do not fit the statement
 */
export function answerQuestion(
  { table, tree, stamped }: Question,
  { values, pageRows, pagingState }: Asked,
  model: TopologyModel,
  self: VirtualHost,
  version: ProtocolVersion,
  stream: number,
): Buffer {
  const rows = tableOf(table, stamped, model, self)
  const plan = planOf(tree, rows.shape, values, Date.now)
  const wanted = { rows: pageRows, state: pagingState, bytesMax: limits.topologyAnswerBytesMax }
  // There are as many rows as gateways, so it is made in one go.
  const steps = run(plan, rows, () => true, wanted)
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  const page = step.value
  return replyEnvelope(version, stream, {
    keyspace,
    table,
    columns: plan.columns,
    rowCount: page.rowCount,
    rows: page.rows,
    pagingState: page.state,
    skipMetadata: false,
    newMetadataId: undefined,
    warning: plan.warning,
  })
}

export interface PreparedQuestion {
  /** 16 bytes, the same on every gateway: an EXECUTE of it is answered with `answerQuestion`. */
  readonly id: Buffer
  readonly envelope: Buffer
}

/**
 * A whole RESULT envelope of kind Prepared.
 *
 * @param text the statement as the client sent it; the id is derived from it, as a node would derive its own
 */
export function preparedQuestion(
  { table, tree, form }: Question,
  text: string,
  version: ProtocolVersion,
  stream: number,
): PreparedQuestion {
  const id = givenId(text)
  const { columns } = form
  const resultMetadataId = digestOf(JSON.stringify([table, columns]))
  const bind = { keyspace, table, columns: markersOf(tree, form), pkIndexes: keyMarkersOf(tree, form) }
  const result = { keyspace, table, columns }
  return { id, envelope: preparedEnvelope(version, stream, { id, resultMetadataId, bind, result }) }
}

/**
 * What a QUERY or EXECUTE says, found as a node finds it (`cql3/QueryOptions.java`): values by their place, or by the name of their marker.
 *
 * @throws RingfenceError INVALID for a marker without a value, too many values, or a consistency that no read has
 */
export function askedOf({ tree, form }: Question, params: ParamsView): Asked {
  if (params.consistency === Consistency.ANY) throw invalid('ANY ConsistencyLevel is only supported for writes')
  const { buffer, pagingStateStart, pagingStateEnd } = params
  return {
    values: boundTo(valuesOf(markersOf(tree, form), params)),
    pageRows: Math.max(0, params.pageSize ?? 0),
    pagingState: pagingStateStart < 0 ? undefined : Buffer.from(buffer.subarray(pagingStateStart, pagingStateEnd)),
  }
}

/** Null for null, undefined for unset. */
type Value = Buffer | null | undefined

function valuesOf(markers: readonly { readonly name: string }[], params: ParamsView): Value[] {
  if (!params.named) {
    if (params.valueCount !== markers.length) throw invalid('Invalid amount of bind variables')
    return markers.map((_, index) => valueAt(params, index))
  }
  const at = new Map<string, number>()
  // The first of two equal names counts.
  for (let index = params.valueCount - 1; index >= 0; index--) at.set(params.nameAt(index), index)
  return markers.map(({ name }) => {
    const index = at.get(name)
    if (index === undefined) throw invalid('Invalid amount of bind variables')
    return valueAt(params, index)
  })
}

function valueAt(params: ParamsView, index: number): Value {
  const bytes = params.valueAt(index)
  if (bytes === -1) return null
  return bytes < -1 ? undefined : Buffer.from(params.buffer.subarray(params.valueStart, params.valueEnd))
}

function boundTo(values: readonly Value[]): BoundTo {
  return { bytes: (marker) => values[marker] ?? null, unset: (marker) => values[marker] === undefined }
}

function digestOf(result: string): Buffer {
  return createHash('sha256').update(`ringfence system select result\0${result}`).digest().subarray(0, 16)
}

function invalid(message: string): RingfenceError {
  return new RingfenceError('INVALID', message)
}
