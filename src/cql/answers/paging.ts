/**
 * Paging states put in the place of others, in answers and in requests. What stands in them is not looked at: the format differs
 * between protocol versions and belongs to the node (attack B19).
 */
import { assert } from '../../base/errors.ts'
import type { Envelope } from '../envelope.ts'
import type { ProtocolVersion } from '../protocol.ts'
import type { ParamsView } from '../requests.ts'
import { isRows, readRowsLayout } from './rows.ts'
import { type Replacement, splice } from './splice.ts'

const lengthBytes = 4

/** A copy of the paging state of an answer; undefined where it has none or is not rows. */
export function pagingStateOf(envelope: Envelope, version: ProtocolVersion): Buffer | undefined {
  if (!isRows(envelope)) return undefined
  const { pagingStateStart, pagingStateEnd } = readRowsLayout(envelope, version)
  return pagingStateStart < 0 ? undefined : Buffer.from(envelope.bytes.subarray(pagingStateStart, pagingStateEnd))
}

/** The same answer with another paging state; it must have one. */
export function withPagingState(envelope: Envelope, version: ProtocolVersion, sealed: Buffer): Buffer {
  return splice(envelope, pagingStateReplacement(envelope, version, sealed))
}

/** What makes `withPagingState`. */
export function pagingStateReplacement(envelope: Envelope, version: ProtocolVersion, sealed: Buffer): Replacement {
  const { pagingStateStart, pagingStateEnd } = readRowsLayout(envelope, version)
  assert(pagingStateStart >= 0, 'only a paging state that is there is replaced')
  return { from: pagingStateStart - lengthBytes, to: pagingStateEnd, inserted: lengthAndBytes(sealed) }
}

/** The same QUERY or EXECUTE with another paging state; `params` are those read from it, and must have one. */
export function withRequestPagingState(envelope: Envelope, params: ParamsView, opened: Buffer): Buffer {
  const { pagingStateStart, pagingStateEnd } = params
  assert(pagingStateStart >= 0, 'only a paging state that is there is replaced')
  const state = { from: pagingStateStart - lengthBytes, to: pagingStateEnd, inserted: lengthAndBytes(opened) }
  return splice(envelope, state)
}

function lengthAndBytes(bytes: Buffer): Buffer {
  const whole = Buffer.allocUnsafe(lengthBytes + bytes.length)
  whole.writeInt32BE(bytes.length, 0)
  bytes.copy(whole, lengthBytes)
  return whole
}
