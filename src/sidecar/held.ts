/**
 * Requests of one session that wait, in order, while a USE is answered, a connection to the node opens, the schema is read again or a
 * long statement is being understood. Bounded; each is a copy, for the buffer they came in is borrowed.
 */
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

export class HeldRequests {
  #requests: Buffer[] | undefined

  /** True while requests have to wait. */
  get waiting(): boolean {
    return this.#requests !== undefined
  }

  /** From now on requests wait; `first` is served before them. */
  begin(first?: Buffer): void {
    this.#requests = first === undefined ? [] : [first]
  }

  /** Throws OVERLOADED when as many wait as may. */
  add(buffer: Buffer, start: number, end: number): void {
    const requests = this.#requests
    if (requests === undefined) return
    if (requests.length >= limits.heldRequestsMax) throw new RingfenceError('OVERLOADED', 'heldRequestsMax reached')
    requests.push(Buffer.from(buffer.subarray(start, end)))
  }

  /** Nothing waits any more; what did is the caller's to serve, in order. */
  end(): readonly Buffer[] {
    const requests = this.#requests ?? []
    this.#requests = undefined
    return requests
  }
}
