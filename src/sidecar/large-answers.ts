/**
 * Large answers of the node that have to be changed: slice by slice, each within its client's share of the loop, while everybody else is
 * served. Small ones are changed in the call that brings them.
 *
 *   begin ─▶ slice ─ share used up ─▶ … next turn … ─▶ slice ─▶ onChanged or onFailed ─▶ the slot is free
 *                                       └─ time-out, connection lost: dropped
 *
 * Rule: the slot is kept, and the answer counted in its client's account, until the last slice; what is asked meanwhile is answered before it.
 */
import { type ByteAccount, overloaded, Verdict } from '../base/bytes-budget.ts'
import { contained, type Owner } from '../base/contained.ts'
import type { LoopShare } from '../session/loop-share.ts'
import type { Request } from './request.ts'

interface Change {
  readonly request: Request
  readonly slices: Generator<undefined, Buffer>
  readonly bytes: number
  dropped: boolean
}

/** `onFault` ends the session. */
export interface LargeAnswerEvents extends Owner {
  readonly onChanged: (request: Request, changed: Buffer) => void
  readonly onFailed: (request: Request, reason: unknown) => void
}

export class LargeAnswers {
  readonly #share: LoopShare
  readonly #account: ByteAccount
  readonly #events: LargeAnswerEvents
  readonly #changes = new Map<Request, Change>()

  constructor(share: LoopShare, account: ByteAccount, events: LargeAnswerEvents) {
    this.#share = share
    this.#account = account
    this.#events = events
  }

  /** Called within `onAnswer`. Throws OVERLOADED where the answer may not wait. */
  begin(request: Request, slices: Generator<undefined, Buffer>, bytes: number): void {
    if (this.#account.take(bytes) === Verdict.REFUSE) throw overloaded()
    request.carrier?.keep(request)
    const change = { request, slices, bytes, dropped: false }
    this.#changes.set(request, change)
    this.#later(change)
  }

  /** Nobody waits for it any more, and its slot is free. False where there is none. */
  drop(request: Request): boolean {
    const change = this.#changes.size === 0 ? undefined : this.#changes.get(request)
    if (change === undefined) return false
    change.dropped = true
    this.#over(change)
    request.carrier?.release(request)
    return true
  }

  #later(change: Change): void {
    this.#share.later(contained(this.#events, 'a large answer', () => this.#goOn(change)))
  }

  #goOn(change: Change): void {
    if (change.dropped) return
    const { request } = change
    let changed: Buffer | undefined
    try {
      changed = this.#slices(change)
    } catch (reason) {
      this.#over(change)
      this.#failed(request, reason)
      return
    }
    if (changed === undefined) {
      this.#later(change)
      return
    }
    this.#over(change)
    try {
      this.#events.onChanged(request, changed)
    } catch (reason) {
      this.#failed(request, reason)
      return
    }
    // A further stage may have begun to change it.
    if (!this.#changes.has(request)) request.carrier?.release(request)
  }

  /** The slot is free, even where the client cannot be told. */
  #failed(request: Request, reason: unknown): void {
    try {
      this.#events.onFailed(request, reason)
    } finally {
      request.carrier?.release(request)
    }
  }

  /** As many as the share of this turn allows; undefined where there are more. */
  #slices({ slices }: Change): Buffer | undefined {
    while (this.#share.begin()) {
      try {
        const slice = slices.next()
        if (slice.done === true) return slice.value
      } finally {
        this.#share.end()
      }
    }
    return undefined
  }

  #over(change: Change): void {
    this.#changes.delete(change.request)
    this.#account.give(change.bytes)
  }
}
