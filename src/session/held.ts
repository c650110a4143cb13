/**
 * Requests of one session that wait, in order: in a sidecar behind one that waits itself (`sidecar/waiting.ts`), in a gateway while the
 * session has no sidecar.
 *
 * Bounds: `heldRequestsMax` in number, which is as many as a client may have in flight, and the client's account in bytes.
 * Rule: what waited is served in the order it came, and what comes while it is served waits behind it. There may be thousands: they are refused
 * within the client's share of each turn of the loop, and whoever serves them lets one wait again where that is used up.
 */
import { type ByteAccount, overloaded, Verdict } from '../base/bytes-budget.ts'
import { contained, nothingEnds } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { Fifo } from '../base/fifo.ts'
import { limits } from '../base/limits.ts'
import type { LoopShare } from './loop-share.ts'

/** A request, as this sees it. */
export interface Holdable {
  readonly byteCount: number
  /** Makes the bytes its own, for the buffer they came in is borrowed. */
  hold(): void
}

export interface HeldHost<T extends Holdable> {
  /** Serves one request, or lets it wait again. Does not throw. */
  readonly serve: (request: T) => void
  /** Answers one request with an error. Does not throw. */
  readonly refuse: (request: T, reason: unknown) => void
  /** More waits for the client than may without its being paused. */
  readonly onCrowded: () => void
}

/** What a request costs beside its bytes while it waits: the objects that hold it. */
export const heldObjectBytes = 512
export class HeldRequests<T extends Holdable> {
  readonly #host: HeldHost<T>
  /** Of the client: what waits is taken from it. */
  readonly #account: ByteAccount
  /** Of the loop, of the client. */
  readonly #share: LoopShare
  readonly #queue = new Fifo<T>()
  #waiting = false
  #bytes = 0
  /** So many of the first are refused, and why. */
  #refused = 0
  #reason: unknown

  constructor(host: HeldHost<T>, account: ByteAccount, share: LoopShare) {
    this.#host = host
    this.#account = account
    this.#share = share
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
    this.#queue.unshift(first)
    if (this.#account.add(bytes) !== Verdict.OK) this.#host.onCrowded()
  }

  /** Throws OVERLOADED when as much waits as may. */
  add(request: T): void {
    if (!this.#waiting) return
    if (this.#queue.length >= limits.heldRequestsMax) {
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
    // Those that are being refused come first.
    if (this.#refused > 0) return
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

  /** All that wait now; what comes before the last is refused waits behind it, and is served. */
  failAll(reason: unknown): void {
    this.#refused = this.#queue.length
    this.#reason = reason
    this.#waiting = true
    this.#refuseSome()
  }

  /** The session is over; nobody waits for an answer. */
  drop(): void {
    this.#waiting = false
    this.#refused = 0
    this.#reason = undefined
    this.#queue.clear()
    this.#account.give(this.#bytes)
    this.#bytes = 0
  }

  #refuseSome(): void {
    while (this.#refused > 0) {
      if (!this.#share.begin()) {
        this.#share.later(contained(nothingEnds, 'requests that are refused', () => this.#refuseSome()))
        return
      }
      this.#refused--
      try {
        this.#host.refuse(this.#take()!, this.#reason)
      } finally {
        this.#share.end()
      }
      // Whoever was told may have ended all of it.
      if (!this.#waiting) return
    }
    this.#reason = undefined
    this.letGo()
  }

  /** The first that waits, which waits no longer. */
  #take(): T | undefined {
    const request = this.#queue.shift()
    if (request === undefined) return undefined
    const bytes = request.byteCount + heldObjectBytes
    this.#bytes -= bytes
    this.#account.give(bytes)
    return request
  }
}
