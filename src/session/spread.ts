/**
 * What is told to many, such as an event of the node to each session that registered for it: to some of them in a turn of the event loop, for
 * what they hear leaves by a socket each.
 *
 *   tell ─▶ the first at once ─▶ … next turn … ─▶ the last ─▶ what was told next
 *
 * Rule: everyone hears everything in the order in which it was told.
 */
import { nextTurn, nothingEnds } from '../base/contained.ts'
import { limits } from '../base/limits.ts'

/** A write to a socket of its own takes up to 50 µs. */
const toldPerTurnMax = 64
/** How often the clock is looked at. */
const toldPerLook = 8

interface Telling<To> {
  readonly left: Iterator<To>
  /** Must not throw. */
  readonly tell: (to: To) => void
}

export class Spread<To> {
  readonly #waiting: Telling<To>[] = []
  readonly #nowMs: () => number
  #told = 0
  #armed = false

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs
  }

  /** Some have not heard yet what was told. */
  get waits(): boolean {
    return this.#waiting.length > 0
  }

  /** `to` is looked at until its end has come, and may change meanwhile. `tell` must not throw. */
  tell(to: Iterable<To>, tell: (to: To) => void): void {
    // So many wait only where more is told all the time than can be heard.
    if (this.#waiting.length >= limits.tellingsWaitingMax) this.#finishFirst()
    this.#waiting.push({ left: to[Symbol.iterator](), tell })
    if (this.#waiting.length === 1 && !this.#armed) this.#run()
  }

  #run(): void {
    this.#armed = false
    this.#told = 0
    const until = this.#nowMs() + limits.loopShareMs
    for (let telling = this.#waiting[0]; telling !== undefined; telling = this.#waiting[0]) {
      if (
        this.#told >= toldPerTurnMax ||
        (this.#told % toldPerLook === 0 && this.#told > 0 && this.#nowMs() >= until)
      ) {
        break
      }
      this.#tellNext(telling)
    }
    // Where a turn's share was used up, what is told next in it waits too.
    if (this.#waiting.length === 0 && this.#told < toldPerTurnMax) return
    this.#armed = true
    nextTurn(nothingEnds, 'what is told to many', () => this.#run())
  }

  #tellNext(telling: Telling<To>): void {
    const next = telling.left.next()
    if (next.done === true) {
      this.#waiting.shift()
      return
    }
    this.#told++
    telling.tell(next.value)
  }

  #finishFirst(): void {
    const first = this.#waiting[0]
    while (first !== undefined && this.#waiting[0] === first) this.#tellNext(first)
  }
}
