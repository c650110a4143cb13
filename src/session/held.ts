/**
 * Requests of one session that wait, in order: in a sidecar behind one that waits itself (`sidecar/waiting.ts`), in a gateway while the
 * session has no sidecar.
 *
 * Bounds: `heldRequestsMax` in number, and the client's account in bytes.
 * Rule: what waited is served in the order it came, and what comes while it is served waits behind it.
 */
import { type ByteAccount, overloaded, Verdict } from '../base/bytes-budget.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

/** A request, as this sees it. */
export interface Holdable {
  readonly byteCount: number
  /** Makes the bytes its own, for the buffer they came in is borrowed. */
  hold(): void
}

export interface HeldHost<T extends Holdable> {
  /** Serves one request, or lets it wait again. Does not throw. */
  readonly serve: (request: T) => void
  /** Answers one request with an error. */
  readonly refuse: (request: T, reason: unknown) => void
  /** More waits for the client than may without its being paused. */
  readonly onCrowded: () => void
}

export class HeldRequests<T extends Holdable> {
  readonly #host: HeldHost<T>
  /** Of the client: what waits is taken from it. */
  readonly #account: ByteAccount
  #requests: T[] | undefined
  #bytes = 0

  constructor(host: HeldHost<T>, account: ByteAccount) {
    this.#host = host
    this.#account = account
  }

  /** True while requests have to wait. */
  get waiting(): boolean {
    return this.#requests !== undefined
  }

  /** From now on requests wait; `first` is served before them. */
  begin(first?: T): void {
    this.#requests = first === undefined ? [] : [first]
    if (first === undefined) return
    first.hold()
    // It is here already; what comes behind it may be refused.
    this.#bytes = first.byteCount
    if (this.#account.add(first.byteCount) !== Verdict.OK) this.#host.onCrowded()
  }

  /** Throws OVERLOADED when as much waits as may. */
  add(request: T): void {
    const requests = this.#requests
    if (requests === undefined) return
    if (requests.length >= limits.heldRequestsMax) throw new RingfenceError('OVERLOADED', 'heldRequestsMax reached')
    const verdict = this.#account.take(request.byteCount)
    if (verdict === Verdict.REFUSE) throw overloaded()
    if (verdict === Verdict.PAUSE) this.#host.onCrowded()
    this.#bytes += request.byteCount
    request.hold()
    requests.push(request)
  }

  /** Serves what waited. */
  letGo(): void {
    this.#serve(this.#end(), 0)
  }

  /** The first of those that wait cannot be served; the others can. */
  failFirst(reason: unknown): void {
    const requests = this.#end()
    if (requests[0] !== undefined) this.#host.refuse(requests[0], reason)
    this.#serve(requests, 1)
  }

  /** One after the other, until one waits again: then the others go on waiting behind it, as they are. */
  #serve(requests: readonly T[], from: number): void {
    for (let at = from; at < requests.length; at++) {
      this.#host.serve(requests[at]!)
      const waiting = this.#requests
      if (waiting === undefined) continue
      for (let behind = at + 1; behind < requests.length; behind++) {
        const request = requests[behind]!
        // They were let in when they came.
        this.#bytes += request.byteCount
        this.#account.add(request.byteCount)
        waiting.push(request)
      }
      return
    }
  }

  failAll(reason: unknown): void {
    for (const request of this.#end()) this.#host.refuse(request, reason)
  }

  /** The session is over; nobody waits for an answer. */
  drop(): void {
    this.#end()
  }

  #end(): readonly T[] {
    const requests = this.#requests ?? []
    this.#requests = undefined
    this.#account.give(this.#bytes)
    this.#bytes = 0
    return requests
  }
}
