/**
 * Paging states put in the place of others, in answers and in requests. What stands in them is not looked at: the format differs
 * between protocol versions and belongs to the node (attack B19).
 */
import { assert } from '../../base/errors.ts'
import type { ProtocolVersion } from '../protocol.ts'
import type { ParamsView } from '../requests.ts'
import { isRows, readRowsLayout } from './rows.ts'
import { type Replacement, splice } from './splice.ts'

const lengthBytes = 4

/** A copy of the paging state of an answer; undefined where it has none or is not rows. */
export function pagingStateOf(buf: Buffer, start: number, end: number, version: ProtocolVersion): Buffer | undefined {
  if (!isRows(buf, start, end)) return undefined
  const { pagingStateStart, pagingStateEnd } = readRowsLayout(buf, start, end, version)
  return pagingStateStart < 0 ? undefined : Buffer.from(buf.subarray(pagingStateStart, pagingStateEnd))
}

/** The same answer with another paging state; it must have one. */
export function withPagingState(
  buf: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
  sealed: Buffer,
): Buffer {
  const { from, to, inserted } = pagingStateReplacement(buf, start, end, version, sealed)
  return splice(buf, start, end, from, to, inserted)
}

/** What makes `withPagingState`. */
export function pagingStateReplacement(
  buf: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
  sealed: Buffer,
): Replacement {
  const { pagingStateStart, pagingStateEnd } = readRowsLayout(buf, start, end, version)
  assert(pagingStateStart >= 0, 'only a paging state that is there is replaced')
  return { from: pagingStateStart - lengthBytes, to: pagingStateEnd, inserted: lengthAndBytes(sealed) }
}

/** The same QUERY or EXECUTE with another paging state; `params` are those read from `buf`, and must have one. */
export function withRequestPagingState(
  buf: Buffer,
  start: number,
  end: number,
  params: ParamsView,
  opened: Buffer,
): Buffer {
  const { pagingStateStart, pagingStateEnd } = params
  assert(pagingStateStart >= 0, 'only a paging state that is there is replaced')
  return splice(buf, start, end, pagingStateStart - lengthBytes, pagingStateEnd, lengthAndBytes(opened))
}

function lengthAndBytes(bytes: Buffer): Buffer {
  const whole = Buffer.allocUnsafe(lengthBytes + bytes.length)
  whole.writeInt32BE(bytes.length, 0)
  bytes.copy(whole, lengthBytes)
  return whole
}
