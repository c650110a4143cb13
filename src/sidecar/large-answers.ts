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
import type { LoopShare } from '../session/loop-share.ts'
import type { Request } from './request.ts'

interface Change {
  readonly request: Request
  readonly slices: Generator<undefined, Buffer>
  readonly bytes: number
  dropped: boolean
}

export interface LargeAnswerEvents {
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
    this.#share.later(() => this.#goOn(change))
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

  #goOn(change: Change): void {
    if (change.dropped) return
    const { request } = change
    let changed: Buffer | undefined
    try {
      changed = this.#slices(change)
    } catch (reason) {
      this.#over(change)
      this.#events.onFailed(request, reason)
      request.carrier?.release(request)
      return
    }
    if (changed === undefined) {
      this.#share.later(() => this.#goOn(change))
      return
    }
    this.#over(change)
    try {
      this.#events.onChanged(request, changed)
    } catch (reason) {
      this.#events.onFailed(request, reason)
    }
    request.carrier?.release(request)
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
