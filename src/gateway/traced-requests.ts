/**
 * Requests of one client that are traced: a span of each, from the client's envelope to its answer, and its trace on the way to the sidecar, in the
 * request's custom payload.
 *
 * Rule: a request that is not chosen leaves as it came, and nothing is made of it. What leaves as sampled was chosen here, for the sidecar traces it:
 * whatever a client wrote there beside is taken away.
 */
import type { Envelope } from '../cql/envelope.ts'
import { headerOpcode, headerStream, Opcode } from '../cql/protocol.ts'
import {
  hasRoomForOne,
  isSampled,
  mayCarry,
  readTraceparent,
  setTraceparent,
  setUnsampled,
  traceparentAt,
  withTraceparent,
} from '../cql/traceparent.ts'
import type { Client, StartupInfo } from '../session/backend.ts'
import { cqlFault } from '../session/fault.ts'
import { type Attribute, SpanKind, type Trace, wallMicros } from '../telemetry/traces/span.ts'
import type { Traces } from '../telemetry/traces/traces.ts'

/** A longer request is not copied for a trace that nobody asked for. */
const copiedBytesMax = 64 * 1024
/** Of requests: from here on there are custom payloads. */
const payloadVersion = 4
const none = -1

interface Open {
  readonly trace: Trace
  readonly opcode: number
}

export class TracedRequests {
  readonly #traces: Traces
  readonly #client: Client
  readonly #identity: string
  readonly #hasPayloads: boolean
  // No LRU: one for each stream of the client that waits for its answer.
  readonly #open = new Map<number, Open>()

  constructor(traces: Traces, client: Client, { version }: StartupInfo) {
    this.#traces = traces
    this.#client = client
    this.#identity = client.info.identity.key
    this.#hasPayloads = version >= payloadVersion
  }

  /** The request in the place of the one that came; undefined where that is to go on as it is now. */
  begin(envelope: Envelope): Buffer | undefined {
    const { bytes, start } = envelope
    // One that ended without word, for the client was told by another way.
    if (this.#open.size > 0) this.over(headerStream(bytes, start), 'lost')
    const at = traceparentAt(envelope)
    if (at !== none) {
      this.#ofClient(envelope, at)
      return undefined
    }
    if (!this.#traces.takes() || !this.#hasPayloads || !mayCarry(headerOpcode(bytes, start))) return undefined
    if (envelope.end - start > copiedBytesMax || !hasRoomForOne(envelope)) return undefined
    const trace = this.#traces.begin()
    if (trace === undefined) return undefined
    this.#opened(envelope, trace)
    return withTraceparent(envelope, trace.traceId, trace.spanId)
  }

  /** That request waits for its answer, and is traced. */
  has(stream: number): boolean {
    return this.#open.size > 0 && this.#open.has(stream)
  }

  /** @param fault the code of the CQL error, or that there was no answer */
  over(stream: number, fault: number | 'lost' | undefined): void {
    if (this.#open.size === 0) return
    const open = this.#open.get(stream)
    if (open === undefined) return
    this.#open.delete(stream)
    this.#end(open, fault)
  }

  /** It was refused by what is thrown to the client's connection. */
  failed(stream: number, reason: unknown): void {
    this.over(stream, cqlFault(reason).code)
  }

  /** The client is gone. */
  close(): void {
    for (const open of this.#open.values()) this.#end(open, 'lost')
    this.#open.clear()
  }

  /** It has a trace of its own, which is rewritten where it stands: of whatever length the request is, nothing is copied. */
  #ofClient(envelope: Envelope, at: number): void {
    const { bytes } = envelope
    const isChosen = this.#hasPayloads && this.#traces.takesOfClient(isSampled(bytes, at), this.#identity)
    const trace = isChosen ? this.#traces.beginOfClient(readTraceparent(bytes, at)) : undefined
    if (trace === undefined) {
      setUnsampled(bytes, at)
      return
    }
    this.#opened(envelope, trace)
    setTraceparent(bytes, at, trace.traceId, trace.spanId)
  }

  #opened({ bytes, start }: Envelope, trace: Trace): void {
    this.#open.set(headerStream(bytes, start), { trace, opcode: headerOpcode(bytes, start) })
  }

  /** @param fault the code of the CQL error, or that there was no answer */
  #end({ trace, opcode }: Open, fault: number | 'lost' | undefined): void {
    const { traceId, spanId, parentId, link, startMicros } = trace
    const { identity, address, port } = this.#client.info
    const attributes: Attribute[] = [
      ['db.system.name', 'cassandra'],
      ['ringfence.request', requestNames.get(opcode) ?? 'UNKNOWN'],
      ['ringfence.peer.spiffe_id', identity.subject],
      ['client.address', address],
      ['client.port', port],
    ]
    if (identity.person !== undefined) attributes.push(['user.id', identity.person])
    if (typeof fault === 'number') attributes.push(['db.response.status_code', String(fault)])
    if (fault !== undefined) attributes.push(['error.type', String(fault)])
    this.#traces.queue.add({
      ...{ traceId, spanId, parentId, link, startMicros },
      name: 'ringfence.gateway',
      kind: SpanKind.SERVER,
      endMicros: Math.max(startMicros, wallMicros()),
      attributes,
      failed: fault !== undefined,
    })
  }
}

const requestNames = new Map<number, string>(Object.entries(Opcode).map(([name, code]) => [code, name]))

/** At a gateway that traces nothing. */
export function leaveUntraced(envelope: Envelope): void {
  const at = traceparentAt(envelope)
  if (at !== none) setUnsampled(envelope.bytes, at)
}
