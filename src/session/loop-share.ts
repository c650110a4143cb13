/**
 * Shares of the event loop. Work that costs more than passing on is measured: reading texts, deciding, judging the parts of a BATCH,
 * changing rows. An identity that has had its share of a turn waits for the next one. Those who wait are served in turn.
 *
 *   begin() ─ false ─▶ later(resume) ─▶ … next turn … ─▶ resume()
 *      └ true ─ some work ─ end()
 *
 * Rule: a piece of work between `begin` and `end` takes a few milliseconds at most, whatever its input. Those who wait are served in the order
 * in which they came, one piece each at least, and nobody is passed over twice, so that all work comes to its end.
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
  /** Turns in which somebody spent something; what was spent in another one than this does not count. */
  turn = 0
  /** Those for whom something waits, the next to be served first. */
  readonly #waiting = new Set<LoopShare>()
  readonly #run = contained(nothingEnds, 'the shares of a turn', () => this.#serve())
  #armed = false

  constructor(clock: LoopClock = realClock) {
    this.clock = clock
  }

  /** Of one client, over all its connections. */
  share(): LoopShare {
    return new LoopShare(this)
  }

  /** Called by a share that waits. */
  waits(share: LoopShare): void {
    this.#waiting.add(share)
    this.arm()
  }

  /** Called by a share that spends: this turn is to have an end. */
  arm(): void {
    if (this.#armed) return
    this.#armed = true
    this.clock.nextTurn(this.#run)
  }

  #serve(): void {
    this.#armed = false
    // What came in this turn and what waited stand in the loop one behind the other: who has had a share of the first goes without the second.
    for (const share of this.#waiting) share.skipIfExhausted()
    this.turn++
    if (this.#waiting.size === 0) return
    const until = this.clock.now() + limits.loopShareMs
    // All those that wait together have one share, so that newcomers do not wait for each of them.
    for (const share of [...this.#waiting]) {
      // It keeps its place.
      if (share.skips) continue
      this.#waiting.delete(share)
      if (share.serve(until)) this.waits(share)
      if (this.clock.now() >= until) break
    }
    if (this.#waiting.size > 0) this.arm()
  }
}

export class LoopShare {
  readonly #shares: LoopShares
  /** What waits, oldest first. */
  readonly #resumes: Fifo<() => void> = new Fifo()
  /** In the turn `#turn` of `LoopShares`. */
  #spentMs = 0
  #turn = 0
  #since = 0
  /** Pieces under way, one inside another; and whether one inside has begun yet. */
  #depth = 0
  #innerBegun = false
  /** Nothing of it is served at the end of this turn. */
  skips = false
  /** It was skipped, and has not been served since. */
  #isOwed = false
  /** What it spent in this turn began at the end of the one before. */
  #wasServed = false

  constructor(shares: LoopShares) {
    this.#shares = shares
  }

  /** It has had its share of this turn. */
  get exhausted(): boolean {
    return this.#spentMs >= limits.loopShareMs && this.#turn === this.#shares.turn
  }

  /** As `exhausted`, of a piece that is under way: it had better end. */
  get usedUp(): boolean {
    return this.#spentMs + this.#shares.clock.now() - this.#since >= limits.loopShareMs
  }

  /** True when a piece of work may begin; `end` is called after it. Pieces may be inside one another: the first inside always may begin. */
  begin(): boolean {
    if (this.#depth === 0) {
      if (this.exhausted) return false
      this.#enterTurn()
      this.#since = this.#shares.clock.now()
      this.#innerBegun = false
    } else {
      if (this.#innerBegun && this.usedUp) return false
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
    this.#enterTurn()
    this.#spentMs += ms
    this.#shares.arm()
  }

  #enterTurn(): void {
    if (this.#turn === this.#shares.turn) return
    this.#turn = this.#shares.turn
    this.#spentMs = 0
  }

  /** Calls `resume` in a later turn, after what came before. */
  later(resume: () => void): void {
    this.#resumes.push(resume)
    this.#shares.waits(this)
  }

  /** Called by `LoopShares` at the end of a turn. */
  skipIfExhausted(): void {
    this.skips = this.exhausted && !this.#wasServed && !this.#isOwed
    this.#isOwed ||= this.skips
    this.#wasServed = false
  }

  /** Serves what waits while there is time; true when something still waits. */
  serve(untilMs: number): boolean {
    this.#wasServed = true
    this.#isOwed = false
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
