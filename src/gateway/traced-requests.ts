/**
 * Requests of one client that are traced: a span of each, from the client's envelope to its answer, and its trace on the way to the sidecar, in the
 * request's custom payload.
 *
 * Rule: a request that is not chosen leaves as it came, and nothing is made of it.
 */
import type { Envelope } from '../cql/envelope.ts'
import { Flag, headerFlags, headerOpcode, headerStream, Opcode } from '../cql/protocol.ts'
import { errorCode } from '../cql/responses.ts'
import {
  hasRoomForOne,
  isSampled,
  mayCarry,
  readTraceparent,
  traceparentAt,
  withTraceparent,
} from '../cql/traceparent.ts'
import type { Client, StartupInfo } from '../session/backend.ts'
import { type Attribute, SpanKind, type Trace, wallMicros } from '../telemetry/traces/span.ts'
import type { Traces } from '../telemetry/traces/traces.ts'
import type { Passing } from './passing.ts'

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
  readonly #hasPayloads: boolean
  // No LRU: one for each stream of the client that waits for its answer.
  readonly #open = new Map<number, Open>()

  constructor(traces: Traces, client: Client, { version }: StartupInfo) {
    this.#traces = traces
    this.#client = client
    this.#hasPayloads = version >= payloadVersion
  }

  /** The request in the place of the one that came; undefined where that is to go on as it is. */
  begin(envelope: Envelope): Buffer | undefined {
    const mayAsk = (headerFlags(envelope.bytes, envelope.start) & Flag.CUSTOM_PAYLOAD) !== 0
    const isChosen = this.#traces.takes()
    if ((!mayAsk && !isChosen) || !this.#hasPayloads) return undefined
    return this.#begin(envelope, isChosen)
  }

  /** @param answer undefined where none came */
  over(stream: number, answer: Passing | undefined): void {
    if (this.#open.size === 0) return
    const open = this.#open.get(stream)
    if (open === undefined) return
    this.#open.delete(stream)
    this.#end(open, answer === undefined ? 'lost' : answer.opcode === Opcode.ERROR ? errorCode(answer) : undefined)
  }

  /** The client is gone. */
  close(): void {
    for (const open of this.#open.values()) this.#end(open, 'lost')
    this.#open.clear()
  }

  #begin(envelope: Envelope, isChosen: boolean): Buffer | undefined {
    const { bytes, start, end } = envelope
    const opcode = headerOpcode(bytes, start)
    if (!mayCarry(opcode)) return undefined
    const at = traceparentAt(envelope)
    if (at === none ? !isChosen || end - start > copiedBytesMax || !hasRoomForOne(envelope) : !isSampled(bytes, at))
      return undefined
    const trace = this.#traces.begin(at === none ? undefined : readTraceparent(bytes, at))
    if (trace === undefined) return undefined
    const stream = headerStream(bytes, start)
    // One that ended without word, for the client was told by another way.
    this.over(stream, undefined)
    this.#open.set(stream, { trace, opcode })
    return withTraceparent(envelope, at, trace.traceId, trace.spanId)
  }

  /** @param fault the code of the CQL error, or that there was no answer */
  #end({ trace, opcode }: Open, fault: number | 'lost' | undefined): void {
    const { traceId, spanId, parentId, startMicros } = trace
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
      ...{ traceId, spanId, parentId, startMicros },
      name: 'ringfence.gateway',
      kind: SpanKind.SERVER,
      endMicros: Math.max(startMicros, wallMicros()),
      attributes,
      failed: fault !== undefined,
    })
  }
}

const requestNames = new Map<number, string>(Object.entries(Opcode).map(([name, code]) => [code, name]))
