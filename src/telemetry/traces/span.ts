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

/** A span of somebody else's. */
export interface ParentSpan {
  readonly traceId: string
  readonly parentId: string
}

/** Of one request in one process. */
export interface Trace {
  /** 32 characters of hexadecimal. */
  readonly traceId: string
  /** Of the span that is made here: 16 characters. */
  readonly spanId: string
  /** Of whoever asked; undefined where the trace begins here. */
  readonly parentId: string | undefined
  /** Of a client that has a trace of its own, of which this is no part. */
  readonly link: ParentSpan | undefined
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
  readonly link?: ParentSpan | undefined
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

const lookedMsMax = 10_000
/** `Date.now()` has whole milliseconds, so a smaller difference says nothing. */
const differenceMsMax = 5

/** Microseconds since 1970, which go on evenly. The wall clock is looked at now and then, and followed where it was set. */
export class WallClock {
  readonly #nowMs: () => number
  readonly #dateMs: () => number
  #originMs: number
  #lookedAtMs = Number.NEGATIVE_INFINITY

  constructor(nowMs: () => number, dateMs: () => number, originMs: number) {
    this.#nowMs = nowMs
    this.#dateMs = dateMs
    this.#originMs = originMs
  }

  /** Whole ones. */
  micros(): number {
    const nowMs = this.#nowMs()
    if (nowMs - this.#lookedAtMs > lookedMsMax) {
      this.#lookedAtMs = nowMs
      const differenceMs = this.#dateMs() - (this.#originMs + nowMs)
      if (Math.abs(differenceMs) > differenceMsMax) this.#originMs += differenceMs
    }
    return Math.round((this.#originMs + nowMs) * 1000)
  }
}

const clock = new WallClock(() => performance.now(), Date.now, performance.timeOrigin)

export function wallMicros(): number {
  return clock.micros()
}
