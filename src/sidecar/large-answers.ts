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
import type { Upstream } from './upstream.ts'

/** A longer answer is changed in slices. */
export const ANSWER_INLINE_BYTES_MAX = 256 * 1024

export interface LargeAnswer {
  readonly upstream: Upstream
  readonly slot: number
}

interface Change extends LargeAnswer {
  readonly slices: Generator<undefined, Buffer>
  readonly bytes: number
  dropped: boolean
}

export interface LargeAnswerEvents {
  readonly onChanged: (answer: LargeAnswer, changed: Buffer) => void
  readonly onFailed: (answer: LargeAnswer, reason: unknown) => void
}

export class LargeAnswers {
  readonly #share: LoopShare
  readonly #account: ByteAccount
  readonly #events: LargeAnswerEvents
  readonly #changes = new Set<Change>()

  constructor(share: LoopShare, account: ByteAccount, events: LargeAnswerEvents) {
    this.#share = share
    this.#account = account
    this.#events = events
  }

  has(upstream: Upstream, slot: number): boolean {
    return this.#changes.size > 0 && this.#find(upstream, slot) !== undefined
  }

  /** Called within `onAnswer`. Throws OVERLOADED where the answer may not wait. */
  begin(upstream: Upstream, slot: number, slices: Generator<undefined, Buffer>, bytes: number): void {
    if (this.#account.take(bytes) === Verdict.REFUSE) throw overloaded()
    upstream.keep(slot)
    const change = { upstream, slot, slices, bytes, dropped: false }
    this.#changes.add(change)
    this.#share.later(() => this.#goOn(change))
  }

  /** Nobody waits for it any more, and its slot is free. False where there is none. */
  drop(upstream: Upstream, slot: number): boolean {
    const change = this.#changes.size === 0 ? undefined : this.#find(upstream, slot)
    if (change === undefined) return false
    change.dropped = true
    this.#over(change)
    if (upstream.ownerOf(slot) !== undefined) upstream.release(slot)
    return true
  }

  #find(upstream: Upstream, slot: number): Change | undefined {
    for (const change of this.#changes) if (change.upstream === upstream && change.slot === slot) return change
    return undefined
  }

  #goOn(change: Change): void {
    if (change.dropped) return
    let changed: Buffer | undefined
    try {
      changed = this.#slices(change)
    } catch (reason) {
      this.#over(change)
      this.#events.onFailed(change, reason)
      change.upstream.release(change.slot)
      return
    }
    if (changed === undefined) {
      this.#share.later(() => this.#goOn(change))
      return
    }
    this.#over(change)
    try {
      this.#events.onChanged(change, changed)
    } catch (reason) {
      this.#events.onFailed(change, reason)
    }
    change.upstream.release(change.slot)
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
    this.#changes.delete(change)
    this.#account.give(change.bytes)
  }
}

/** A large envelope of the node's comes in pieces, and is then in memory of its own that nobody writes to again (`cql/inbound.ts`). */
export function ownEnvelope(buffer: Buffer, start: number, end: number): Buffer {
  return start === 0 && end === buffer.length ? buffer : Buffer.from(buffer.subarray(start, end))
}
