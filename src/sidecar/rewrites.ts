/**
 * What is changed in a permitted request before it goes to the node, and in the node's answer before it goes to the client.
 *
 * Rule: whatever has to be changed and cannot be is refused; nothing passes half-changed.
 */
import { assert, RingfenceError } from '../base/errors.ts'
import { addressChangerOf, withoutRowAddresses } from '../cql/answers/addresses.ts'
import { withoutRows } from '../cql/answers/filter.ts'
import { type ChangerOf, type Mask, maskersBy, RowsChange } from '../cql/answers/mask.ts'
import {
  pagingStateOf,
  pagingStateReplacement,
  withPagingState,
  withRequestPagingState,
} from '../cql/answers/paging.ts'
import { withoutSkipMetadata, withoutTracing } from '../cql/answers/requests.ts'
import { splicedInWindows } from '../cql/answers/splice.ts'
import { withWarning, withWarningInWindows } from '../cql/answers/warning.ts'
import { type Envelope, wholeEnvelope } from '../cql/envelope.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { Flag, headerFlags, Opcode } from '../cql/protocol.ts'
import { ExecuteView, type ParamsView, QueryView, readExecute, readQuery } from '../cql/requests.ts'
import type { Column } from '../cql/responses.ts'
import type { Permit } from '../policy/engine.ts'
import type { ColumnMask, Obligations } from '../policy/obligations.ts'
import { unknownColumns } from './answered.ts'
import { BoundValues } from './bound.ts'
import type { SessionContext } from './context.ts'
import { withoutPayload } from './envelopes.ts'
import type { IdentityState, Judge, Judged } from './judged.ts'
import { permitOf } from './judged.ts'
import type { SealContext } from './seal.ts'
import type { Secrets } from './secrets.ts'
import { textDigest } from './statement.ts'
import { valuesDigest, valuesDigestInSteps } from './values-digest.ts'

// Filled anew for each envelope that is looked at again.
const query = new QueryView()
const execute = new ExecuteView()
const values = new BoundValues()

/** One request or answer on its way, with what the rewriting of it may look at. */
export interface Passage {
  readonly version: ProtocolVersion
  readonly opcode: number
  readonly judged: Judged
  readonly permit: Permit
  readonly identity: IdentityState
  /** Of long values; of others it is made where it is wanted. */
  readonly valuesDigest?: Buffer | undefined
}

/** The answer must show its columns to be changed by them. */
function needsColumns(obligations: Obligations | undefined): boolean {
  if (obligations === undefined) return false
  const { masks, visibleOnly, addressesHidden, rowsHidden } = obligations
  if (masks.length > 0 || visibleOnly || addressesHidden === true || rowsHidden === true) return true
  return obligations.columns !== undefined
}

/** The answer to this has to be changed before it is handed on. */
export function changesRows(permit: Permit): boolean {
  return needsColumns(permit.obligations)
}

/** What a request carries, beside a custom payload, that the node must not see as it came: a sealed paging state, the tracing flag, … */
export function mustRewrite(params: ParamsView | undefined, permit: Permit, headerFlagBits: number): boolean {
  if ((headerFlagBits & Flag.TRACING) !== 0) return true
  if (params === undefined) return false
  return params.pagingStateStart >= 0 || (params.skipMetadata && needsColumns(permit.obligations))
}

/**
 * The request as the node may have it.
 * @param mayTrace asked only when the request wants to be traced
 * @throws RingfenceError INVALID for a paging state that this mesh did not give to this identity for this statement
 */
export function outgoing(
  passage: Passage,
  payload: { readonly payloadStart: number; readonly payloadEnd: number } | undefined,
  envelope: Buffer,
  secrets: Secrets,
  mayTrace: () => boolean,
): Buffer {
  let request = envelope
  if (payload !== undefined) {
    request = withoutPayload(wholeEnvelope(request), payload.payloadStart, payload.payloadEnd)
  }
  if ((headerFlags(request, 0) & Flag.TRACING) !== 0 && !mayTrace()) request = withoutTracing(wholeEnvelope(request))
  const params = paramsOf(passage, request)
  if (params === undefined) return request
  if (params.pagingStateStart >= 0) {
    const sealed = request.subarray(params.pagingStateStart, params.pagingStateEnd)
    const opened = secrets.seal.open(sealed, sealContext(passage, params))
    if (opened === undefined) throw new RingfenceError('INVALID', 'Invalid value for the paging state')
    request = withRequestPagingState(wholeEnvelope(request), params, opened)
  }
  if (!needsColumns(passage.permit.obligations)) return request
  const again = paramsOf(passage, request)
  return again?.skipMetadata === true ? withoutSkipMetadata(wholeEnvelope(request), again) : request
}

/** A copy of a request that `outgoing` made, as the client could have sent it: its paging state is sealed again. */
export function asItCame(passage: Passage, request: Buffer, secrets: Secrets): Buffer {
  const copy = Buffer.from(request)
  const params = paramsOf(passage, copy)
  if (params === undefined || params.pagingStateStart < 0) return copy
  const state = Buffer.from(copy.subarray(params.pagingStateStart, params.pagingStateEnd))
  const sealed = secrets.seal.seal(state, sealContext(passage, params))
  return withRequestPagingState(wholeEnvelope(copy), params, sealed)
}

/**
 * The permit by which an answer is handed on: the one that was given, or where the answer shows columns that were not known then, one for
 * those (throws UNAUTHORIZED where there is none).
 */
export function permitOfAnswer(
  { permit, judged, identity, version, opcode }: Passage,
  judge: Judge,
  context: SessionContext,
  consistency: number,
  request: Buffer,
  answer: Buffer,
): Permit {
  const known = permit.obligations?.columns
  const shown = known === undefined ? undefined : unknownColumns(judged.facts, known, answer, version)
  if (shown === undefined) return permit
  const params = paramsOf({ opcode, version }, request)
  const bound = params === undefined ? undefined : values.ofRequest(params, judged.facts.markers)
  const again = permitOf(
    judge.withColumns(identity, judged, shown, context.set(opcode, consistency, judged.facts, bound)),
  )
  const { addressesHidden, rowsHidden } = permit.obligations ?? {}
  const hidden = addressesHidden === true ? again.hidingAddresses() : again
  return rowsHidden === true ? hidden.hidingRows() : hidden
}

/**
 * The answer as the client may have it: columns masked, the paging state sealed.
 * @param request the envelope that asked, as it was forwarded
 */
export function incomingRows(passage: Passage, secrets: Secrets, request: Buffer, given: Envelope): Buffer {
  const { version, permit } = passage
  let answer = given.bytes.subarray(given.start, given.end)
  const { obligations } = permit
  assertOfNode(permit)
  if (obligations?.rowsHidden === true) answer = withoutRows(wholeEnvelope(answer), version)
  const maskers = maskersOf(passage, secrets)
  if (maskers !== undefined) answer = new RowsChange(wholeEnvelope(answer), version, maskers).whole()
  if (obligations?.addressesHidden === true) answer = withoutRowAddresses(wholeEnvelope(answer), version)
  const sealed = sealedState(passage, secrets, request, answer)
  return sealed === undefined ? answer : withPagingState(wholeEnvelope(answer), version, sealed)
}

/**
 * The same as `incomingRows`, slice by slice, for an answer that is kept by the caller; `request` is not looked at after the first.
 * @param longValues those of the request, where the passage has no digest of them; kept by the caller
 */
export function* incomingRowsSliced(
  given: Passage,
  secrets: Secrets,
  request: Buffer,
  answer: Buffer,
  longValues?: Buffer,
): Generator<undefined, Buffer> {
  const passage =
    longValues === undefined
      ? given
      : { ...given, valuesDigest: yield* valuesDigestInSteps(longValues, 0, longValues.length) }
  const { version, permit } = passage
  assertOfNode(permit)
  const maskers = maskersOf(passage, secrets)
  const sealed = sealedState(passage, secrets, request, answer)
  let changed = permit.obligations?.rowsHidden === true ? withoutRows(wholeEnvelope(answer), version) : answer
  for (const changerOf of [maskers, permit.obligations?.addressesHidden === true ? addressChangerOf : undefined]) {
    if (changerOf === undefined) continue
    changed = yield* new RowsChange(wholeEnvelope(changed), version, changerOf).inSlices()
    yield
  }
  if (sealed === undefined) return changed
  return yield* splicedInWindows(changed, pagingStateReplacement(wholeEnvelope(changed), version, sealed))
}

/** An answer that was made here, with its columns, masked as its permit asks; in slices. */
export function* maskedInSlices(passage: Passage, secrets: Secrets, answer: Buffer): Generator<undefined, Buffer> {
  const maskers = maskersOf(passage, secrets)
  if (maskers === undefined) return answer
  return yield* new RowsChange(wholeEnvelope(answer), passage.version, maskers).inSlices()
}

function assertOfNode({ obligations }: Permit): void {
  assert(
    obligations?.visibleOnly !== true,
    'what is cut down to the visible is answered here (`catalog/`, `describe/`)',
  )
}

/** Undefined where no column is masked. */
function maskersOf(passage: Passage, secrets: Secrets): ChangerOf | undefined {
  const { obligations } = passage.permit
  if (obligations === undefined || obligations.masks.length === 0) return undefined
  const byColumn = new Map(obligations.masks.map(({ column, mask }) => [column, named(mask, column)]))
  const shown = shownColumns(passage.judged)
  const { verb, keyspace, table } = passage.judged.facts
  const maskOf = (name: string, index: number, of: Column): Mask | undefined => {
    if (verb === 'SELECT' && (of.keyspace !== keyspace || of.table !== table || index >= (shown?.length ?? Infinity))) {
      throw new RingfenceError('UPSTREAM', 'an answer that has to be masked has other columns than were asked for')
    }
    const column = shown === undefined ? name : shown[index]
    return column === undefined ? undefined : byColumn.get(column)
  }
  return maskersBy(maskOf, secrets.maskKey)
}

/** What takes the place of the answer's paging state; undefined where it has none. */
function sealedState(passage: Passage, secrets: Secrets, request: Buffer, answer: Buffer): Buffer | undefined {
  const state = pagingStateOf(wholeEnvelope(answer), passage.version)
  if (state === undefined) return undefined
  const params = paramsOf(passage, request)
  if (params === undefined) throw new RingfenceError('UPSTREAM', 'a page of an answer that cannot have pages')
  return secrets.seal.seal(state, sealContext(passage, params))
}

/** A hash is of the column's own name too, whatever alias the answer shows. */
function named(mask: ColumnMask['mask'], column: string): Mask {
  return mask.kind === 'hash' ? { kind: 'hash', name: column } : mask
}

/** Tells the client of what would have been refused, were the policy enforced. */
export function withObserved(envelope: Envelope, version: ProtocolVersion, observed: string): Buffer {
  return withWarning(envelope, version, observedText(observed))
}

/** The same of a long answer, window by window. */
export function withObservedInWindows(
  envelope: Buffer,
  version: ProtocolVersion,
  observed: string,
): Generator<undefined, Buffer> {
  return withWarningInWindows(envelope, version, observedText(observed))
}

function observedText(observed: string): string {
  return `observed, not enforced: this request would be refused by policy (rule ${observed})`
}

/** Of a SELECT with a list: the column that each output column is; undefined where the answer's own names are those of the table. */
function shownColumns({ facts }: Judged): readonly (string | undefined)[] | undefined {
  return facts.selection === '*' ? undefined : facts.selection
}

export function sealContext(
  { identity, judged, valuesDigest: digest }: Pick<Passage, 'identity' | 'judged' | 'valuesDigest'>,
  params: ParamsView,
): SealContext {
  return {
    identity: identity.key,
    keyspace: judged.facts.keyspace ?? '',
    textDigest: textDigest(judged),
    valuesDigest: digest ?? valuesDigest(params, judged.facts.markers),
  }
}

/** Read into views of the caller's where it keeps them. */
export function paramsOf(
  { opcode, version }: Pick<Passage, 'opcode' | 'version'>,
  request: Buffer,
  ofQuery: QueryView = query,
  ofExecute: ExecuteView = execute,
): ParamsView | undefined {
  switch (opcode) {
    case Opcode.EXECUTE:
      readExecute(ofExecute, wholeEnvelope(request), version)
      return ofExecute.params
    case Opcode.QUERY:
      readQuery(ofQuery, wholeEnvelope(request), version)
      return ofQuery.params
    default:
      return undefined
  }
}
