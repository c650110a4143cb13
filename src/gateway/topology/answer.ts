/** The answers themselves: RESULT/Rows for a recognised SELECT, RESULT/Prepared for a PREPARE of one. */
import { createHash } from 'node:crypto'
import { RingfenceError } from '../../base/errors.ts'
import { preparedEnvelope, type RowsSpec, rowsEnvelope } from '../../cql/encode.ts'
import type { ProtocolVersion } from '../../cql/protocol.ts'
import type { ParamsView } from '../../cql/requests.ts'
import { type CqlType, decodeValue, encodeValue, native } from '../../cql/values.ts'
import { givenId } from '../../link/given-id.ts'
import { systemColumns } from './columns.ts'
import type { TopologyModel, VirtualHost } from './model.ts'
import type { Marker, SystemSelect } from './select.ts'
import { cellOf, hostsOf } from './values.ts'

const keyspace = 'system'
const bigint = native('bigint')
const int = native('int')

/**
 * A whole RESULT envelope of kind Rows, with full metadata whatever `skip_metadata` asked for (drivers take either) and
 * without paging: there are as many rows as gateways.
 *
 * @param boundValues one for each of `select.markers`, in their order; see `boundValuesOf`
 * @param self the host that the client is connected to: the row of `system.local`, and no row of the peers
 * @throws RingfenceError INVALID for values that do not fit the statement
 */
export function answerSystemSelect(
  select: SystemSelect,
  boundValues: readonly (Buffer | null)[],
  model: TopologyModel,
  self: VirtualHost,
  version: ProtocolVersion,
  stream: number,
): Buffer {
  if (boundValues.length !== select.markers.length) throw invalid('Invalid amount of bind variables')
  const conditions = select.where.map(({ column, value }) => ({
    column,
    cell: typeof value === 'number' ? boundCell(column, boundValues[value]!) : value,
  }))
  const limit = limitOf(select, boundValues)
  const hosts = hostsOf(select.table, model, self).filter((host) =>
    conditions.every(({ column, cell }) => cellOf(select.table, column, host, model)?.equals(cell) === true),
  )
  const spec = rowsSpecOf(select)
  const { selection } = select
  if (selection.kind === 'count') return rowsEnvelope(version, stream, spec, [[encodeValue(bigint, hosts.length)]])
  const rows = hosts
    .slice(0, limit)
    .map((host) => selection.columns.map(({ column }) => cellOf(select.table, column, host, model)))
  return rowsEnvelope(version, stream, spec, rows)
}

export interface PreparedSystemSelect {
  /** 16 bytes, the same on every gateway: an EXECUTE of it is answered with `answerSystemSelect`. */
  readonly id: Buffer
  readonly envelope: Buffer
}

/**
 * A whole RESULT envelope of kind Prepared.
 *
 * @param text the statement as the client sent it; the id is derived from it, as a node would derive its own
 */
export function preparedSystemSelect(
  select: SystemSelect,
  text: string,
  version: ProtocolVersion,
  stream: number,
): PreparedSystemSelect {
  const id = givenId(text)
  const result = rowsSpecOf(select)
  const columns = select.markers.map(({ name, target }) => ({
    name: name ?? (target === 'limit' ? '[limit]' : target.name),
    type: typeOf(target),
  }))
  const resultMetadataId = digestOf(JSON.stringify([result.table, result.columns]))
  const bind = { keyspace, table: select.table, columns, pkIndexes: partitionKeyMarkers(select) }
  return { id, envelope: preparedEnvelope(version, stream, { id, resultMetadataId, bind, result }) }
}

/**
 * The values of a QUERY or EXECUTE in the order of the statement's bind markers, as copies.
 *
 * @throws RingfenceError INVALID for a marker without a value, an unset one, or too many values
 */
export function boundValuesOf(select: SystemSelect, params: ParamsView): (Buffer | null)[] {
  const at = new Map<string, number>()
  if (params.named) for (let index = 0; index < params.valueCount; index++) at.set(params.nameAt(index), index)
  else if (params.valueCount !== select.markers.length) throw invalid('Invalid amount of bind variables')
  return select.markers.map(({ name, target }, position) => {
    const index = params.named ? at.get(name ?? labelOf(target)) : position
    if (index === undefined) throw invalid('Invalid amount of bind variables')
    const bytes = params.valueAt(index)
    if (bytes < -1) throw invalid(`Invalid unset value for ${labelOf(target)}`)
    return bytes === -1 ? null : Buffer.from(params.buffer.subarray(params.valueStart, params.valueEnd))
  })
}

function rowsSpecOf({ table, selection }: SystemSelect): RowsSpec {
  const columns =
    selection.kind === 'count'
      ? [{ name: selection.label, type: bigint }]
      : selection.columns.map(({ column, label }) => ({ name: label, type: column.type }))
  return { keyspace, table, columns }
}

function boundCell(column: { readonly name: string; readonly type: CqlType }, value: Buffer | null): Buffer {
  if (value === null) throw invalid(`Invalid null value in condition for column ${column.name}`)
  checkValue(column.type, value, column.name)
  return value
}

function limitOf({ limit, markers }: SystemSelect, boundValues: readonly (Buffer | null)[]): number | undefined {
  if (typeof limit !== 'object') return limit
  const value = boundValues[limit.marker] ?? null
  if (value === null) throw invalid('Invalid null value of limit')
  const rows = checkValue(int, value, labelOf(markers[limit.marker]!.target))
  if (typeof rows !== 'number' || rows <= 0) throw invalid('LIMIT must be strictly positive')
  return rows
}

/** The value, where the bytes are one of the type. */
function checkValue(type: CqlType, bytes: Buffer, label: string) {
  try {
    return decodeValue(type, bytes)
  } catch (cause) {
    throw new RingfenceError('INVALID', `Invalid bytes for ${label} of type ${type.kind}`, { cause })
  }
}

/** The indexes of the markers that make up the partition key, where they do (`VariableSpecifications`). */
function partitionKeyMarkers({ table, markers }: SystemSelect): number[] {
  const key = systemColumns[table].find(({ role }) => role === 'partition')
  const index = markers.findIndex(({ target }) => target === key)
  return index < 0 ? [] : [index]
}

function labelOf(target: Marker['target']): string {
  return target === 'limit' ? '[limit]' : target.name
}

function typeOf(target: Marker['target']): CqlType {
  return target === 'limit' ? int : target.type
}

function digestOf(result: string): Buffer {
  return createHash('sha256').update(`ringfence system select result\0${result}`).digest().subarray(0, 16)
}

function invalid(message: string): RingfenceError {
  return new RingfenceError('INVALID', message)
}
