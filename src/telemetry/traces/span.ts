/**
 * Traces: of a request that was chosen, when it was where, for a collector of OpenTelemetry.
 *
 *   Traces (which requests?) ─▶ Trace, on the request ─▶ spans ─▶ SpanQueue (bounded) ─▶ OTLP
 *
 * The rule one must not break: of a request that was not chosen nothing is made. A span holds what the record of its request may hold: no
 * literal, no bound value, no secret.
 *
 * This file: a trace as a request carries it, a span, and the identifiers and times of both.
 */
import { randomBytes } from 'node:crypto'

/** Of one request in one process. */
export interface Trace {
  /** 32 characters of hexadecimal. */
  readonly traceId: string
  /** Of the span that is made here: 16 characters. */
  readonly spanId: string
  /** Of whoever asked; undefined where the trace begins here. */
  readonly parentId: string | undefined
  /** When the request came: microseconds since 1970. */
  readonly startMicros: number
}

/** As OTLP numbers them. */
export const SpanKind = { SERVER: 2, CLIENT: 3 } as const

export type Attribute = readonly [name: string, value: string | number]

export interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentId: string | undefined
  readonly name: string
  readonly kind: (typeof SpanKind)[keyof typeof SpanKind]
  readonly startMicros: number
  readonly endMicros: number
  readonly attributes: readonly Attribute[]
  readonly failed: boolean
}

const traceIdBytes = 16
const spanIdBytes = 8

export function newTraceId(): string {
  return randomBytes(traceIdBytes).toString('hex')
}

export function newSpanId(): string {
  return randomBytes(spanIdBytes).toString('hex')
}

const anchorMsMax = 10_000
let anchoredAtMs = Number.NEGATIVE_INFINITY
let offsetMicros = 0

/** Whole microseconds since 1970, which go on evenly. The wall clock is looked at again now and then, for it may be set. */
export function wallMicros(): number {
  const nowMs = performance.now()
  if (nowMs - anchoredAtMs > anchorMsMax) {
    anchoredAtMs = nowMs
    offsetMicros = (Date.now() - nowMs) * 1000
  }
  return Math.round(offsetMicros + nowMs * 1000)
}
