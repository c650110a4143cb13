/** Frames that wait while nothing can be written. Once some had no room all that follow are lost too, for they may lean on those. */
import { isNumbered } from './format.ts'
import { frameEnd, kindAt } from './frames.ts'

export const keptBytesMax = 16 * 1024 * 1024

export class Kept {
  #pieces: Buffer[] = []
  #bytes = 0
  #isFull = false
  /** Records that were lost for good since the process started. */
  dropped = 0

  get bytes(): number {
    return this.#bytes
  }

  get all(): readonly Buffer[] {
    return this.#pieces
  }

  /** Whole frames; copied, for they lie in memory that is used again. Gives how many frames were lost. */
  add(frames: Buffer): number {
    if (frames.length === 0) return 0
    if (!this.#isFull && this.#bytes + frames.length <= keptBytesMax) {
      this.#pieces.push(Buffer.from(frames))
      this.#bytes += frames.length
      return 0
    }
    this.#isFull = true
    let lost = 0
    for (let at = 0, end = frameEnd(frames, 0); end > 0; at = end, end = frameEnd(frames, at)) {
      lost++
      if (isNumbered(kindAt(frames, at))) this.dropped++
    }
    return lost
  }

  clear(): void {
    this.#pieces = []
    this.#bytes = 0
    this.#isFull = false
  }
}
