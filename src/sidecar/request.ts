/**
 * One request of a client, from its arrival to its answer.
 *
 * Rule: only a request that nobody else can hold any more is used again: one that was answered within the call that brought it or its answer.
 * What any timer, promise or queue has seen is left to the garbage collector.
 */
import { InFlight } from './in-flight.ts'
import type { IdentityState, Judged } from './judged.ts'

/** The session that a request came in, as the request sees it. */
export interface RequestSession {
  readonly identity: IdentityState
  /** The record's part that is the same for the whole session. */
  readonly sessionPart: string
}

/** Whoever hears what became of a request at the node; see `InFlight`. */
export interface Owner {
  onAnswer(request: Request, buffer: Buffer, start: number, end: number): void
  onUnfit(request: Request, answerBytes: number): void
  onTimeout(request: Request): void
  onLost(request: Request): void
}

export class Request extends InFlight {
  session!: RequestSession
  owner!: Owner
  opcode = 0
  /** The client's own stream id. */
  stream = 0
  consistency = 0
  judged!: Judged

  override onAnswer(buffer: Buffer, start: number, end: number): void {
    this.owner.onAnswer(this, buffer, start, end)
  }

  override onUnfit(answerBytes: number): void {
    this.owner.onUnfit(this, answerBytes)
  }

  override onTimeout(): void {
    this.owner.onTimeout(this)
  }

  override onLost(): void {
    this.owner.onLost(this)
  }

  override over(): void {
    giveRequest(this)
  }

  override clear(): void {
    super.clear()
    // Nobody is to use an empty one.
    this.session = undefined as never
    this.owner = undefined as never
    this.judged = undefined as never
  }
}

/** Kept for the next ones; more are left to the garbage collector. */
const FREE_MAX = 4096
const free: Request[] = []

/** One that is empty. */
export function takeRequest(): Request {
  return free.pop() ?? new Request()
}

/** Called by whoever ended it, who must be the last to hold it. */
export function giveRequest(request: Request): void {
  request.clear()
  if (free.length < FREE_MAX) free.push(request)
}
