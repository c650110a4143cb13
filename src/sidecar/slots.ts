/**
 * What is in flight on one connection to the node, by its slot: the stream id that it has there.
 *
 * Rule: a slot is not given out again before its answer came or the connection died, whoever stopped waiting for it: a late answer would be
 * taken for another request's.
 */
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { InFlight } from './in-flight.ts'

const streams = limits.upstreamStreamsMax

export class Slots {
  /** As long as the most that there ever were in flight. */
  readonly #requests: (InFlight | undefined)[] = []
  readonly #free = new Uint16Array(streams)
  #freeCount = 0
  #taken = 0

  get taken(): number {
    return this.#taken
  }

  get full(): boolean {
    return this.#taken === streams
  }

  /** The slot of the request from now on; −1 where all are taken. */
  take(request: InFlight): number {
    const slot = this.#freeCount > 0 ? this.#free[--this.#freeCount]! : this.#requests.length
    if (slot === streams) return -1
    this.#requests[slot] = request
    this.#taken++
    return slot
  }

  /** @throws RingfenceError UPSTREAM where nobody waits for an answer there */
  asked(slot: number): InFlight {
    const request = this.#requests[slot]
    if (request === undefined) throw new RingfenceError('UPSTREAM', `an answer to stream ${slot}, which asked nothing`)
    if (request.kept) throw new RingfenceError('UPSTREAM', `a second answer to stream ${slot}`)
    return request
  }

  /** Gives its slot back. */
  give(request: InFlight): void {
    const { slot } = request
    assert(this.#requests[slot] === request, 'a slot is released once')
    this.#requests[slot] = undefined
    this.#free[this.#freeCount++] = slot
    this.#taken--
  }

  /** The connection died: all that were in flight. */
  takeAll(): InFlight[] {
    const all = [...this]
    this.#requests.length = 0
    this.#freeCount = 0
    this.#taken = 0
    return all
  }

  *[Symbol.iterator](): Iterator<InFlight> {
    for (const request of this.#requests) if (request !== undefined) yield request
  }
}
