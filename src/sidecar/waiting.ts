/**
 * Where the requests of one session wait, behind one that waits itself. What that one waits for is in `stages/delays.ts`, `use.ts`,
 * `trace.ts`, `large-batch.ts`, `answer-here.ts` and `behalf/on-behalf.ts`.
 */
import { assert } from '../base/errors.ts'
import type { Client } from '../session/backend.ts'
import { type HeldHost, HeldRequests } from '../session/held.ts'
import type { LoopShare } from '../session/loop-share.ts'
import type { Request } from './request.ts'

export class Waiting {
  readonly #client: Client
  readonly #held: HeldRequests<Request>
  /** Whether the wait that is on is one in which nothing is read. */
  #halts = false

  constructor(client: Client, host: Omit<HeldHost<Request>, 'onCrowded'>, share: LoopShare) {
    this.#client = client
    this.#held = new HeldRequests({ ...host, onCrowded: () => client.pause() }, client.account, share)
  }

  /** True while requests have to wait. */
  get active(): boolean {
    return this.#held.waiting
  }

  /** Behind those that wait. Throws OVERLOADED when as much waits as may. */
  add(request: Request): void {
    this.#held.add(request)
  }

  /** From now on requests wait; `first` is served again before them. */
  begin(first?: Request): void {
    assert(!this.#held.waiting, 'one request at a time makes the others wait')
    this.#halts = false
    this.#held.begin(first)
  }

  /** As `begin`, and nothing more is read of the client meanwhile. */
  beginHalted(first: Request): void {
    this.begin(first)
    this.#halts = true
    this.#client.halt(true)
  }

  /** Serves what waited. */
  letGo(): void {
    this.#held.letGo()
    this.#resume()
  }

  /** The first request that waits fails; the others are served. */
  failFirst(reason: unknown): void {
    this.#held.failFirst(reason)
    this.#resume()
  }

  failAll(reason: unknown): void {
    this.#halts = false
    this.#client.halt(false)
    this.#held.failAll(reason)
  }

  /** The session is over; nobody waits for an answer. */
  drop(): void {
    this.#held.drop()
  }

  /** What was served may wait again, for another reason: a USE that was put off waits for the node, and lets others come. */
  #resume(): void {
    if (!this.#held.waiting || !this.#halts) this.#client.halt(false)
  }
}
