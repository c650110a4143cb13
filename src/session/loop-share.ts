/**
 * Shares of the event loop. Work that costs more than passing on is measured: reading texts, deciding, judging the parts of a BATCH,
 * changing rows. An identity that has had its share of a turn waits for the next one. Those who wait are served in turn.
 *
 *   begin() ─ false ─▶ later(resume) ─▶ … next turn … ─▶ resume()
 *      └ true ─ some work ─ end()
 *
 * Rule: a piece of work between `begin` and `end` takes a few milliseconds at most, whatever its input. In each turn everyone may begin
 * one piece at least, so that all work comes to its end.
 */
import { contained, containFault, nothingEnds } from '../base/contained.ts'
import { Fifo } from '../base/fifo.ts'
import { limits } from '../base/limits.ts'

export interface LoopClock {
  /** Milliseconds. */
  readonly now: () => number
  readonly nextTurn: (run: () => void) => void
}

const realClock: LoopClock = { now: () => performance.now(), nextTurn: (run) => void setImmediate(run) }

export class LoopShares {
  readonly clock: LoopClock
  /** Those that have spent something in this turn. */
  readonly #spenders = new Set<LoopShare>()
  /** Those for whom something waits, the next to be served first. */
  readonly #waiting = new Set<LoopShare>()
  readonly #turn = contained(nothingEnds, 'the shares of a turn', () => this.#run())
  #armed = false

  constructor(clock: LoopClock = realClock) {
    this.clock = clock
  }

  /** Of one client, over all its connections. */
  share(): LoopShare {
    return new LoopShare(this)
  }

  /** Called by a share. */
  spends(share: LoopShare): void {
    this.#spenders.add(share)
    this.#arm()
  }

  /** Called by a share. */
  waits(share: LoopShare): void {
    this.#waiting.add(share)
    this.#arm()
  }

  #arm(): void {
    if (this.#armed) return
    this.#armed = true
    this.clock.nextTurn(this.#turn)
  }

  #run(): void {
    this.#armed = false
    for (const share of this.#spenders) share.reset()
    this.#spenders.clear()
    if (this.#waiting.size === 0) return
    const until = this.clock.now() + limits.loopShareMs
    // All those that wait together have one share, so that newcomers do not wait for each of them.
    for (const share of this.#waiting) {
      this.#waiting.delete(share)
      if (share.serve(until)) this.waits(share)
      if (this.clock.now() >= until) break
    }
    if (this.#waiting.size > 0) this.#arm()
  }
}

export class LoopShare {
  readonly #shares: LoopShares
  /** What waits, oldest first. */
  readonly #resumes: Fifo<() => void> = new Fifo()
  #spentMs = 0
  #since = 0
  /** Pieces under way, one inside another; and whether one inside has begun yet. */
  #depth = 0
  #innerBegun = false

  constructor(shares: LoopShares) {
    this.#shares = shares
  }

  /** It has had its share of this turn. */
  get exhausted(): boolean {
    return this.#spentMs >= limits.loopShareMs
  }

  /** As `exhausted`, of a piece that is under way: it had better end. */
  get usedUp(): boolean {
    return this.#spentMs + this.#shares.clock.now() - this.#since >= limits.loopShareMs
  }

  /** True when a piece of work may begin; `end` is called after it. Pieces may be inside one another: the first inside always may begin. */
  begin(): boolean {
    if (this.#depth === 0) {
      if (this.exhausted) return false
      this.#since = this.#shares.clock.now()
      this.#innerBegun = false
    } else {
      const spentMs = this.#spentMs + this.#shares.clock.now() - this.#since
      if (this.#innerBegun && spentMs >= limits.loopShareMs) return false
      this.#innerBegun = true
    }
    this.#depth++
    return true
  }

  end(): void {
    if (--this.#depth === 0) this.charge(this.#shares.clock.now() - this.#since)
  }

  /** For work whose cost is known well enough without a clock. */
  charge(ms: number): void {
    if (this.#spentMs === 0) this.#shares.spends(this)
    this.#spentMs += ms
  }

  /** Calls `resume` in a later turn, after what came before. */
  later(resume: () => void): void {
    this.#resumes.push(resume)
    this.#shares.waits(this)
  }

  /** Called by `LoopShares` at the end of a turn. */
  reset(): void {
    this.#spentMs = 0
  }

  /** Serves what waits while there is time; true when something still waits. */
  serve(untilMs: number): boolean {
    // What begins to wait meanwhile waits for the next turn.
    for (let left = this.#resumes.length; left > 0; left--) {
      try {
        this.#resumes.shift()!()
      } catch (reason) {
        // Whoever waits wraps its own in `contained`; this keeps one that did not from the others of its client.
        containFault(nothingEnds, 'work that waited for its turn', reason)
      }
      if (this.exhausted || this.#shares.clock.now() >= untilMs) break
    }
    return this.#resumes.length > 0
  }
}
