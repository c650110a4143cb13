/** The block that is being filled: what its header will say. Its bytes may lie in memory, and in a segment that could not be written on. */
import { createHash, type Hash } from 'node:crypto'
import { encodeHeader } from './format.ts'
import { sha256 } from './tree.ts'

export class Block {
  /** Frames in it, and those that are no reason to seal it. */
  frames = 0
  idle = 0
  numberBefore: number
  firstMs = 0
  lastMs = 0
  /** What is not in memory any more. */
  #carried: Hash | undefined
  #carriedBytes = 0

  constructor(numberBefore: number) {
    this.numberBefore = numberBefore
  }

  get isWorth(): boolean {
    return this.frames > this.idle
  }

  /** What follows in it was made then. */
  at(ms: number): void {
    this.firstMs ||= ms
    this.lastMs = ms
  }

  /** These of its bytes are not kept in memory any longer. */
  carry(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#carried ??= createHash('sha256')
    this.#carried.update(bytes)
    this.#carriedBytes += bytes.length
  }

  /** @param rest the bytes behind those that were carried */
  header(rest: Buffer, numberLast: number): Buffer {
    const { frames, numberBefore, firstMs, lastMs } = this
    const hash = this.#carried === undefined ? sha256(rest) : this.#carried.copy().update(rest).digest()
    return encodeHeader({
      frames,
      numberBefore,
      numberLast,
      firstMs,
      lastMs,
      bytes: this.#carriedBytes + rest.length,
      hash,
    })
  }
}
