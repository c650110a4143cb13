/** Whose long answers come on a connection of the node. Answers come one after the other, so whoever asks there meanwhile waits for them. */
import { limits } from '../base/limits.ts'

/** Others do not wait behind a shorter one: a longer one takes ten milliseconds and more to come. */
const longAnswerBytes = 1024 * 1024
/** Whoever asked for one is likely to have asked for more. */
const moreMs = 2_000

export class LongAnswers {
  #who: object | undefined
  #untilMs = 0

  /** An answer begins to come. */
  begin(who: object, bytes: number): void {
    if (bytes <= longAnswerBytes) return
    this.#who = who
    this.#untilMs = performance.now() + limits.requestTimeoutMs
  }

  /** It came, or is dropped. */
  end(): void {
    this.#untilMs = performance.now() + moreMs
  }

  /** Long ones of somebody else come. */
  crowdedFor(who: object | undefined): boolean {
    return this.#who !== undefined && this.#who !== who && this.#isNow()
  }

  crowdedBy(who: object): boolean {
    return this.#who === who && this.#isNow()
  }

  #isNow(): boolean {
    if (performance.now() <= this.#untilMs) return true
    this.#who = undefined
    return false
  }
}
