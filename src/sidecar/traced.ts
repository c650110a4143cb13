/**
 * Which requests of a sidecar are traced, and what their clients hear of it: who is told of an error is told its trace too.
 *
 * Rule: where traces are off, or a request is not chosen, nothing is made of it.
 */
import { wholeEnvelope } from '../cql/envelope.ts'
import { Flag } from '../cql/protocol.ts'
import { bodyStart } from '../cql/responses.ts'
import { errorOfTrace, isSampled, readTraceparent, traceparentAt } from '../cql/traceparent.ts'
import { type ParentSpan, wallMicros } from '../telemetry/traces/span.ts'
import type { Traces } from '../telemetry/traces/traces.ts'
import type { Request } from './request.ts'

const codeBytes = 4

/**
 * A request came.
 * @param byGateway that gateway has chosen already: what is sampled was chosen there, by what it lets clients do
 */
export function traceArrival(traces: Traces, request: Request, byGateway: boolean, identity: string): void {
  if ((request.flags & Flag.CUSTOM_PAYLOAD) !== 0) {
    const { bytes } = request
    const at = traceparentAt(request)
    if (at >= 0) {
      const isAsked = isSampled(bytes, at)
      if (byGateway) {
        if (isAsked) request.trace = traces.follow(readTraceparent(bytes, at))
      } else if (traces.takesOfClient(isAsked, identity))
        request.trace = traces.beginOfClient(readTraceparent(bytes, at))
      return
    }
  }
  if (!byGateway && traces.takes()) request.trace = traces.begin()
}

/** It is refused. */
export function traceDenial(traces: Traces, request: Request): void {
  if (request.trace !== undefined || !traces.denied) return
  request.trace = traces.begin(parentOf(request), wallMicros() - request.sinceArrivalMicros(performance.now() * 1000))
}

/** It was answered by the node, and its latency is known. */
export function traceSlow(traces: Traces, request: Request): void {
  if (request.latencyMicros < traces.slowMicros || request.trace !== undefined) return
  // The bytes that went to the node have no payload: a trace of somebody who does not record it is not known any more.
  request.trace = traces.begin(undefined, wallMicros() - request.latencyMicros - request.waitedMicros)
}

/** An ERROR that names the trace of its request; unchanged where there is none. */
export function withTrace(request: Request, error: Buffer): Buffer {
  const { trace } = request
  if (trace === undefined) return error
  const envelope = wholeEnvelope(error)
  return errorOfTrace(envelope, bodyStart(envelope) + codeBytes, trace.traceId)
}

/** The trace of somebody who does not record it. */
function parentOf(request: Request): ParentSpan | undefined {
  const at = request.bytes.length === 0 ? -1 : traceparentAt(request)
  return at < 0 ? undefined : readTraceparent(request.bytes, at)
}
