/**
 * The log of one sidecar: a leaf for each sealed block, and each second a checkpoint of what came. It gives the checkpoint back, so that the
 * next block holds it.
 *
 * Rule: nothing is signed that the disk may not have.
 */
import type { LogKey } from './log-key.ts'
import { signCheckpoint } from './note.ts'
import type { Tiles } from './tiles.ts'

export class BlockLog {
  readonly #tiles: Tiles
  readonly #key: LogKey
  readonly #onFailure: (reason: unknown) => void
  #signed: number
  #failing = false
  /** Sealed, and not in the tree yet: the disk may not have them. */
  readonly #waiting: Buffer[] = []

  /** @param signed the size of the last checkpoint that is there */
  constructor(tiles: Tiles, key: LogKey, signed: number, onFailure: (reason: unknown) => void) {
    this.#tiles = tiles
    this.#key = key
    this.#signed = signed
    this.#onFailure = onFailure
  }

  /** Blocks so far. */
  get size(): number {
    return this.#tiles.size + this.#waiting.length
  }

  /** Whether `sign` has something to do. */
  get isDue(): boolean {
    return this.size !== this.#signed || this.#failing
  }

  add(header: Buffer): void {
    this.#waiting.push(header)
  }

  /**
   * The checkpoint of the first `blocks`, where some of them came since the last one. The disk has them. Tiles that cannot be written wait for the next time; the segments have all that
   * they are made of.
   */
  sign(blocks = this.size): string | undefined {
    for (const header of this.#waiting.splice(0, blocks - this.#tiles.size)) this.#tiles.add(header)
    const { size } = this.#tiles
    if (size === this.#signed && !this.#failing) return undefined
    const { key, privateKey } = this.#key
    const checkpoint = signCheckpoint({ origin: key.name, size, root: this.#tiles.root() }, key, privateKey)
    const isNew = size !== this.#signed
    this.#signed = size
    try {
      this.#tiles.publish(checkpoint)
      this.#failing = false
    } catch (reason) {
      if (!this.#failing) this.#onFailure(reason)
      this.#failing = true
    }
    return isNew ? checkpoint : undefined
  }
}
