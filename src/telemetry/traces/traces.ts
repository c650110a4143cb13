/**
 * Which requests are traced: those of a client that asks for it, one in so many of the others, and for a sidecar those that are refused or slow.
 *
 * Rule: for a request that is not chosen this is a countdown of an integer, and nothing else.
 */

import type { SpanQueue } from './queue.ts'
import { newSpanId, newTraceId, type Trace, wallMicros } from './span.ts'

export interface Sampling {
  readonly ratio: number
  readonly denied?: boolean
  readonly slowMs?: number | undefined
}

/** Who asked, in a trace of somebody else's. */
export interface ParentSpan {
  readonly traceId: string
  readonly parentId: string
}

/** A countdown is an integer of 31 bits, so that V8 keeps it in place. */
const countMax = 2 ** 30 - 1

export class Traces {
  readonly queue: SpanQueue
  readonly denied: boolean
  /** Infinite where slowness does not count. */
  readonly slowMicros: number
  readonly #logOfRest: number
  readonly #random: () => number
  /** Requests up to the next that is chosen. */
  #left: number

  constructor({ ratio, denied = false, slowMs }: Sampling, queue: SpanQueue, random: () => number = Math.random) {
    this.queue = queue
    this.denied = denied
    this.slowMicros = slowMs === undefined ? Number.POSITIVE_INFINITY : slowMs * 1000
    this.#logOfRest = Math.log1p(-ratio)
    this.#random = random
    this.#left = this.#next()
  }

  /** To be asked once for each request. */
  takes(): boolean {
    if (--this.#left > 0) return false
    this.#left = this.#next()
    return this.#logOfRest < 0
  }

  /** Undefined where there is no room for its spans, which is counted. */
  begin(parent?: ParentSpan, startMicros: number = wallMicros()): Trace | undefined {
    if (!this.queue.hasRoom()) return undefined
    return {
      traceId: parent?.traceId ?? newTraceId(),
      spanId: newSpanId(),
      parentId: parent?.parentId,
      startMicros,
    }
  }

  /** Each request is chosen with the same chance, apart from all others: the gaps between them are spread so. */
  #next(): number {
    if (this.#logOfRest === 0) return countMax
    const gap = Math.floor(Math.log(1 - this.#random()) / this.#logOfRest) + 1
    return Math.min(gap, countMax)
  }
}
