/**
 * What is lost with an upstream session that closed by itself.
 *
 * Rule: what was sent and not answered is never sent again. Whether the node acted is then unknown, and only the driver may decide. It gets
 * an error on that stream; or its connection ends, if the session has no other sidecar to go on with.
 */
import { RingfenceError } from '../base/errors.ts'
import { headerStream } from '../cql/protocol.ts'
import type { Close } from '../link/protocol.ts'

/** Refusals that another sidecar would repeat. */
const finalCodes: ReadonlySet<string> = new Set(['IDENTITY', 'UNAUTHORIZED'])

export interface Closed {
  readonly reason: Close
  /** Streams of the client that were in flight there. */
  readonly inFlight: readonly number[]
  /** Requests that waited there for a PREPARE: not sent, though their streams are in flight. */
  readonly unsent: readonly Buffer[]
  /** The session has no other upstream session. */
  readonly alone: boolean
}

export interface Loss {
  /** The client's connection must end. */
  readonly endsClient: boolean
  /** Streams whose requests were sent and will not be answered. */
  readonly lost: readonly number[]
}

export function lossOf({ reason, inFlight, unsent, alone }: Closed): Loss {
  const waiting = new Set(unsent.map((request) => headerStream(request, 0)))
  const lost = inFlight.filter((stream) => !waiting.has(stream))
  return { endsClient: finalCodes.has(reason.code) || (lost.length > 0 && alone), lost }
}

/** Drivers try OVERLOADED again where the request is idempotent, and only there. */
export function outcomeUnknown(reason: string): RingfenceError {
  return new RingfenceError('OVERLOADED', `${reason}; whether the node acted is not known`)
}
