/**
 * Which requests are traced: one in so many, for a sidecar those that are refused or slow, and where the operator says so those of which a client
 * records a trace of its own.
 *
 * Rule: for a request that is not chosen this is a countdown of an integer, and nothing else. A client chooses nothing, unless the operator lets it,
 * and then so many requests a second, and never the last of the room for spans.
 */
import { RateTable } from '../../base/rate-table.ts'
import { counter, type Family } from '../metrics/family.ts'

import type { SpanQueue } from './queue.ts'
import { newSpanId, newTraceId, type ParentSpan, type Trace, wallMicros } from './span.ts'

export interface Sampling {
  readonly ratio: number
  readonly denied?: boolean
  readonly slowMs?: number | undefined
  readonly clients?: 'ignore' | 'link' | 'follow'
}

/** Of one identity, by its own choice: requests each second, and at once. */
const followedPerSecond = 100
const followedAtOnce = 200
const identitiesMax = 4_096
const followedMicros = 1_000_000 / followedPerSecond

/** A countdown is an integer of 31 bits, so that V8 keeps it in place. */
const countMax = 2 ** 30 - 1

export class Traces {
  readonly queue: SpanQueue
  readonly denied: boolean
  /** Infinite where slowness does not count. */
  readonly slowMicros: number
  readonly #clients: 'ignore' | 'link' | 'follow'
  readonly #followed: RateTable = new RateTable(identitiesMax)
  #notFollowed = 0
  readonly #logOfRest: number
  readonly #random: () => number
  /** Requests up to the next that is chosen. */
  #left: number

  constructor(
    { ratio, denied = false, slowMs, clients = 'link' }: Sampling,
    queue: SpanQueue,
    random: () => number = Math.random,
  ) {
    this.queue = queue
    this.denied = denied
    this.#clients = clients
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

  /** The same, for a request of a client that has a trace of its own. @param isSampled the client records that trace */
  takesOfClient(isSampled: boolean, identity: string, nowMicros: number = performance.now() * 1000): boolean {
    if (this.#clients !== 'follow') return this.takes()
    if (!isSampled) return false
    const slot = this.#followed.slot(identity, nowMicros)
    if (this.#followed.owedMicros(slot, nowMicros) > (followedAtOnce - 1) * followedMicros) {
      this.#notFollowed++
      return false
    }
    this.#followed.charge(slot, followedMicros, nowMicros)
    return true
  }

  /** After `takesOfClient`. Undefined where there is no room for its spans, which is counted. */
  beginOfClient(client: ParentSpan): Trace | undefined {
    return this.#clients === 'follow' ? this.follow(client) : this.begin(client)
  }

  /** Asked by somebody who may choose. Undefined where there is no room for its spans, which is counted. */
  follow(parent: ParentSpan): Trace | undefined {
    if (!this.queue.hasRoom(true)) return undefined
    return made(parent, undefined, wallMicros())
  }

  /**
   * Chosen here. Undefined where there is no room for its spans, which is counted.
   * @param client the trace that the client has of its own
   */
  begin(client?: ParentSpan, startMicros: number = wallMicros()): Trace | undefined {
    if (!this.queue.hasRoom()) return undefined
    if (this.#clients === 'follow') return made(client, undefined, startMicros)
    return made(undefined, this.#clients === 'link' ? client : undefined, startMicros)
  }

  families(): Family[] {
    const text = 'Requests of which clients asked for a trace, beyond what one may ask for.'
    return [...this.queue.families(), counter('ringfence_trace_requests_not_followed', text, this.#notFollowed)]
  }

  /** Each request is chosen with the same chance, apart from all others: the gaps between them are spread so. */
  #next(): number {
    if (this.#logOfRest === 0) return countMax
    const gap = Math.floor(Math.log(1 - this.#random()) / this.#logOfRest) + 1
    return Math.min(gap, countMax)
  }
}

function made(parent: ParentSpan | undefined, link: ParentSpan | undefined, startMicros: number): Trace {
  return {
    traceId: parent?.traceId ?? newTraceId(),
    spanId: newSpanId(),
    parentId: parent?.parentId,
    link: link && { traceId: link.traceId, parentId: link.parentId },
    startMicros,
  }
}
