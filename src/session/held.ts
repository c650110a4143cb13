/**
 * Requests of one session that wait, in order: in a sidecar behind one that waits itself (`sidecar/waiting.ts`), in a gateway while the
 * session has no sidecar.
 *
 * Bounds: `heldRequestsMax` in number, which is as many as a client may have in flight, and the client's account in bytes.
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

/** What a request costs beside its bytes while it waits: the objects that hold it. */
export const heldObjectBytes = 512
/** The places of requests that were served are given up when there are so many, and they are half. */
const servedMax = 1024

export class HeldRequests<T extends Holdable> {
  readonly #host: HeldHost<T>
  /** Of the client: what waits is taken from it. */
  readonly #account: ByteAccount
  /** What waits begins at `#next`. Those before it were served. */
  #queue: (T | undefined)[] = []
  #next = 0
  #waiting = false
  #bytes = 0

  constructor(host: HeldHost<T>, account: ByteAccount) {
    this.#host = host
    this.#account = account
  }

  /** True while requests have to wait. */
  get waiting(): boolean {
    return this.#waiting
  }

  /** From now on requests wait; `first` is served before them. */
  begin(first?: T): void {
    this.#waiting = true
    if (first === undefined) return
    first.hold()
    // It is here already; what comes behind it may be refused.
    const bytes = first.byteCount + heldObjectBytes
    this.#bytes += bytes
    // One that waits again has its own place still.
    if (this.#next > 0) this.#queue[--this.#next] = first
    else this.#queue.unshift(first)
    if (this.#account.add(bytes) !== Verdict.OK) this.#host.onCrowded()
  }

  /** Throws OVERLOADED when as much waits as may. */
  add(request: T): void {
    if (!this.#waiting) return
    if (this.#queue.length - this.#next >= limits.heldRequestsMax) {
      throw new RingfenceError('OVERLOADED', 'heldRequestsMax reached')
    }
    const bytes = request.byteCount + heldObjectBytes
    const verdict = this.#account.take(bytes)
    if (verdict === Verdict.REFUSE) throw overloaded()
    if (verdict === Verdict.PAUSE) this.#host.onCrowded()
    this.#bytes += bytes
    request.hold()
    this.#queue.push(request)
  }

  /** Serves what waited, one after the other, until one waits again: then the others go on waiting behind it, as they are. */
  letGo(): void {
    this.#waiting = false
    for (;;) {
      const request = this.#take()
      if (request === undefined) return
      this.#host.serve(request)
      if (this.#waiting) return
    }
  }

  /** The first of those that wait cannot be served; the others can. */
  failFirst(reason: unknown): void {
    this.#waiting = false
    const first = this.#take()
    if (first !== undefined) this.#host.refuse(first, reason)
    // Whoever was told may have ended all of it.
    if (!this.#waiting) this.letGo()
  }

  failAll(reason: unknown): void {
    const requests = this.#queue.slice(this.#next)
    this.drop()
    for (const request of requests) this.#host.refuse(request!, reason)
  }

  /** The session is over; nobody waits for an answer. */
  drop(): void {
    this.#waiting = false
    this.#queue = []
    this.#next = 0
    this.#account.give(this.#bytes)
    this.#bytes = 0
  }

  /** The first that waits, which waits no longer. */
  #take(): T | undefined {
    if (this.#next === this.#queue.length) {
      this.#queue.length = 0
      this.#next = 0
      return undefined
    }
    const request = this.#queue[this.#next]!
    this.#queue[this.#next++] = undefined
    if (this.#next >= servedMax && this.#next * 2 >= this.#queue.length) {
      this.#queue = this.#queue.slice(this.#next - 1)
      this.#next = 1
    }
    const bytes = request.byteCount + heldObjectBytes
    this.#bytes -= bytes
    this.#account.give(bytes)
    return request
  }
}
