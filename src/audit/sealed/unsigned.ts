/**
 * How long the time is, at the end of a log, that no checkpoint vouches for. A log signs each second, so that it is short.
 *
 * Rule: by the times of frames, and not by those of headers, which whoever writes a block chooses.
 */

/** What took longer than this, and is not signed, was put there by somebody else. */
export const unsignedMsMax = 10_000

export class Unsigned {
  /** When the block that is read began, and the first one that is not signed; 0 where there is none. */
  #blockMs = 0
  #sealedMs = 0
  #lastMs = 0

  time(ms: number): void {
    this.#blockMs ||= ms
    this.#lastMs = Math.max(this.#lastMs, ms)
  }

  sealed(): void {
    this.#sealedMs ||= this.#blockMs
    this.#blockMs = 0
  }

  /** All blocks so far are. */
  signed(): void {
    this.#sealedMs = 0
    this.#lastMs = this.#blockMs
  }

  get sinceMs(): number {
    return this.#sealedMs || this.#blockMs
  }

  get ms(): number {
    return this.sinceMs === 0 ? 0 : this.#lastMs - this.sinceMs
  }
}
