/**
 * How fast a client takes its answers while many wait for it. A client that takes less than `readerBytesPerSecondMin` for `stalledReaderMs`
 * is closed (attack E3), so that its answers do not wait for ever.
 */
import { limits } from '../base/limits.ts'

/** A reader that falls behind again so soon is measured from where it was, not anew. */
const gapMsMax = 2000

export class ReaderPace {
  readonly #nowMs: () => number
  /** 0 while it is not behind. */
  #sinceMs = 0
  #takenBytes = 0
  /** When it had taken all that waited; 0 while it has not. */
  #caughtUpMs = 0

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** Much waits for it. `takenBytes`: all that it ever took. */
  paused(takenBytes: number): void {
    this.#caughtUpMs = 0
    if (this.#sinceMs !== 0) return
    this.#sinceMs = this.#nowMs()
    this.#takenBytes = takenBytes
  }

  /** It has taken all that waited. */
  resumed(): void {
    this.#caughtUpMs = this.#nowMs()
  }

  /** Called now and then. */
  tooSlow(takenBytes: number): boolean {
    if (this.#sinceMs === 0) return false
    const now = this.#nowMs()
    if (this.#caughtUpMs !== 0 && now - this.#caughtUpMs > gapMsMax) {
      this.#sinceMs = 0
      return false
    }
    const ms = now - this.#sinceMs
    if (ms < limits.stalledReaderMs) return false
    const tooSlow = (takenBytes - this.#takenBytes) * 1000 < limits.readerBytesPerSecondMin * ms
    this.#sinceMs = now
    this.#takenBytes = takenBytes
    return tooSlow
  }
}
