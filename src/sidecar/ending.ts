/** The ends of a request that the node did not answer: each is told to whoever records, then given to the client. */

import type { Transactions } from '../audit/transactions.ts'
import { RingfenceError } from '../base/errors.ts'
import { withoutAddresses } from '../cql/answers/addresses.ts'
import { tracingIdBytes, withTracingId } from '../cql/answers/tracing.ts'
import { errorEnvelope } from '../cql/encode.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { CqlErrorCode, type ProtocolVersion } from '../cql/protocol.ts'
import type { Denial } from '../policy/engine.ts'
import type { Client } from '../session/backend.ts'
import { cqlFault } from '../session/fault.ts'
import type { Request } from './request.ts'
import { traceDenial, withTrace } from './traced.ts'

/** Rules of the mesh itself, beside those of the policy. */
export const noSuchId = 'unknown-prepared-id'
export const nodeRefused = 'node-refused'
const notUnderstood = 'not-understood'
const nodeAway = 'node-away'
const overloaded = 'overloaded'
const tooLarge = 'too-large'

/** An answer that is made here. */
export interface OwnAnswer {
  readonly envelope: Buffer
  /** The CQL error, or −1. */
  readonly code: number
  readonly message: string
  /** A count, or −1. */
  readonly rowCount: number
}

/** What stops a request while the record cannot be written. @throws RingfenceError OVERLOADED */
export function refuseUnrecorded({ transactions }: Pick<Ending, 'transactions'>): void {
  if (transactions.blocked) throw unrecorded()
}

export const clientLeft = 'the client left'
export const unwritten = 'the record could not be written'

/** What is answered instead. */
export function unrecorded(): RingfenceError {
  return new RingfenceError('OVERLOADED', 'the audit record cannot be written, so nothing is forwarded')
}

/** What these need of a session. */
export interface Ending {
  readonly client: Client
  readonly version: ProtocolVersion
  readonly transactions: Transactions
  /** The client is shown no address of a node. */
  readonly topologyHidden?: boolean
}

/** The node's own words may be in it: its error, where it was asked, and its warnings. */
export function answerHere(
  request: Request,
  { client, version, transactions, topologyHidden }: Ending,
  reply: OwnAnswer,
): void {
  const { tracingId } = request
  const said = reply.envelope
  const shown = topologyHidden === true ? (withoutAddresses(wholeEnvelope(said), version) ?? said) : said
  const traced = tracingId?.length === tracingIdBytes ? withTracingId(wholeEnvelope(shown), tracingId) : shown
  const envelope = reply.code < 0 ? traced : withTrace(request, traced)
  request.outcome = reply.code < 0 ? 'ok' : 'error'
  request.code = reply.code
  request.message = reply.message
  request.messageIsOurs = false
  request.rows = reply.rowCount
  request.bytesOut = envelope.length
  transactions.ended(request)
  client.answer(envelope, 0, envelope.length, request.stream)
}

/** A statement that was read, and is refused. `code` is the CQL error. */
export function deny(
  request: Request,
  { client, version, transactions }: Ending,
  denial: Denial,
  code: number = denial.invalid === true ? CqlErrorCode.INVALID : CqlErrorCode.UNAUTHORIZED,
  envelope: Buffer = errorEnvelope(version, request.stream, code, denial.reason),
): void {
  const { traces } = transactions
  if (traces !== undefined) traceDenial(traces, request)
  const told = withTrace(request, envelope)
  request.denial = denial
  request.outcome = 'error'
  request.code = code
  request.message = denial.reason
  request.messageIsOurs = true
  request.bytesOut = told.length
  transactions.ended(request)
  client.answer(told, 0, told.length, request.stream)
}

/** For the record: a request that was refused before there was a verdict on it, or in spite of one. `code` is the CQL error. */
export function refused(
  request: Request,
  { transactions }: Pick<Ending, 'transactions'>,
  rule: string,
  code: number,
  message: string,
): void {
  // What was read of it, and allowed, is not what became of it.
  request.judged = undefined
  request.permit = undefined
  request.denial = undefined
  request.rule = rule
  request.outcome = 'error'
  request.code = code
  request.message = message
  request.messageIsOurs = false
  const { traces } = transactions
  if (traces !== undefined) traceDenial(traces, request)
  transactions.ended(request)
}

/** For the record: a request that was begun, and of which its client hears nothing more, or nothing of how it ended. */
export function lost(request: Request, { transactions }: Pick<Ending, 'transactions'>, why: string): void {
  request.outcome = 'lost'
  request.code = 0
  request.message = why
  request.messageIsOurs = true
  request.rows = -1
  request.bytesOut = 0
  transactions.ended(request)
}

/** For the record: a request that an error of ours stopped, or one of the client's. */
export function failed(request: Request, ending: Pick<Ending, 'transactions'>, reason: unknown): void {
  // While nothing can be written, refusals would take the room of lines that must not be lost.
  if (ending.transactions.blocked) {
    // Its intent is on record: this line is one that must not be lost.
    if ((request.recordNumber ?? 0) > 0) lost(request, ending, unwritten)
    return
  }
  const { code, message } = cqlFault(reason)
  refused(request, ending, ruleOfFault(reason), code, message)
}

/** What stopped a request, by our own error: a queue that is full is not a node that is away, though a driver hears the same code. */
export function ruleOfFault(reason: unknown): string {
  switch (reason instanceof RingfenceError ? reason.code : undefined) {
    case 'OVERLOADED':
      return overloaded
    case 'UNAVAILABLE':
    case 'UPSTREAM':
      return nodeAway
    case 'TOO_LARGE':
      return tooLarge
    default:
      return notUnderstood
  }
}
