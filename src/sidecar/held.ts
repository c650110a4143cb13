/**
 * Requests of one session that wait, in order, while a USE is answered, a connection to the node opens, the schema is read again or a
 * long statement is being understood. Bounded; each is a copy, for the buffer they came in is borrowed.
 *
 * Rule: what waited is served in the order it came, and what comes while it is served waits behind it.
 */
import { type ByteAccount, overloaded, Verdict } from '../base/bytes-budget.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Analysed } from './analyst.ts'

/** What the other thread said of the texts of a request. */
export type KnownTexts = ReadonlyMap<string, Analysed> | undefined

export interface HeldHost {
  /** Serves one request, or lets it wait again. Does not throw. */
  readonly serve: (request: Buffer, known: KnownTexts) => void
  /** Answers one request with an error. */
  readonly refuse: (request: Buffer, reason: unknown) => void
  /** More waits for the client than may without its being paused. */
  readonly onCrowded: () => void
}

export class HeldRequests {
  readonly #host: HeldHost
  /** Of the client: what waits is taken from it. */
  readonly #account: ByteAccount
  #requests: Buffer[] | undefined
  #bytes = 0

  constructor(host: HeldHost, account: ByteAccount) {
    this.#host = host
    this.#account = account
  }

  /** True while requests have to wait. */
  get waiting(): boolean {
    return this.#requests !== undefined
  }

  /** From now on requests wait; `first` is served before them. */
  begin(first?: Buffer): void {
    this.#requests = first === undefined ? [] : [first]
    if (first === undefined) return
    // It is here already; what comes behind it may be refused.
    this.#bytes = first.length
    if (this.#account.add(first.length) !== Verdict.OK) this.#host.onCrowded()
  }

  /** Throws OVERLOADED when as much waits as may. */
  add(buffer: Buffer, start: number, end: number): void {
    const requests = this.#requests
    if (requests === undefined) return
    if (requests.length >= limits.heldRequestsMax) throw new RingfenceError('OVERLOADED', 'heldRequestsMax reached')
    const bytes = end - start
    const verdict = this.#account.take(bytes)
    if (verdict === Verdict.REFUSE) throw overloaded()
    if (verdict === Verdict.PAUSE) this.#host.onCrowded()
    this.#bytes += bytes
    requests.push(Buffer.from(buffer.subarray(start, end)))
  }

  /** Serves what waited. `known` is about the first. */
  letGo(known?: KnownTexts): void {
    this.#serve(this.#end(), 0, known)
  }

  /** The first of those that wait cannot be served; the others can. */
  failFirst(reason: unknown): void {
    const requests = this.#end()
    if (requests[0] !== undefined) this.#host.refuse(requests[0], reason)
    this.#serve(requests, 1, undefined)
  }

  /** One after the other, until one waits again: then the others go on waiting behind it, as they are. */
  #serve(requests: readonly Buffer[], from: number, known: KnownTexts): void {
    for (let at = from; at < requests.length; at++) {
      this.#host.serve(requests[at]!, at === 0 ? known : undefined)
      const waiting = this.#requests
      if (waiting === undefined) continue
      for (let behind = at + 1; behind < requests.length; behind++) {
        const request = requests[behind]!
        // They were let in when they came.
        this.#bytes += request.length
        this.#account.add(request.length)
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

  #end(): readonly Buffer[] {
    const requests = this.#requests ?? []
    this.#requests = undefined
    this.#account.give(this.#bytes)
    this.#bytes = 0
    return requests
  }
}
