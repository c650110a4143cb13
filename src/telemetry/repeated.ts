/**
 * A log line that would be the same again and again, such as about a peer that is away. It is written when it changes, and then once a
 * minute.
 */
import { type Clock, systemClock } from '../base/clock.ts'

const againMs = 60_000

export class Repeated {
  readonly #clock: Clock
  #last: string | undefined
  #saidMs = 0
  #unsaid = 0

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
  }

  /** How often the line was left out since it was last said; undefined when it is to be left out now. */
  due(line: string): number | undefined {
    const nowMs = this.#clock.monotonic()
    if (line === this.#last && nowMs - this.#saidMs < againMs) {
      this.#unsaid++
      return undefined
    }
    const unsaid = line === this.#last ? this.#unsaid : 0
    this.#last = line
    this.#saidMs = nowMs
    this.#unsaid = 0
    return unsaid
  }

  /** It is over: the same line is news when it comes again. */
  over(): void {
    this.#last = undefined
  }
}
