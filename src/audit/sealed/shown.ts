/** Shows each checkpoint of a log to a witness, one at a time. That it is away holds nothing up; that it refuses is told. */
import { join } from 'node:path'
import { replaceFile } from '../../mesh/files.ts'
import type { WitnessAnswer, WitnessRequest } from '../../mesh/witness.ts'
import { HashTree } from './hash-tree.ts'
import { type NoteKey, openCheckpoint } from './note.ts'
import { Tiles } from './tiles.ts'

export interface ShownOptions {
  readonly directory: string
  readonly ask: (request: WitnessRequest) => Promise<WitnessAnswer>
  /** Told once for each reason. */
  readonly onRefused: (why: string) => void
}

export class ShownCheckpoints {
  readonly #options: ShownOptions
  #size = 0
  #next: { readonly note: string; readonly key: NoteKey } | undefined
  #asking: Promise<void> | undefined
  #refused: string | undefined

  constructor(options: ShownOptions) {
    this.#options = options
  }

  /** The tiles of this checkpoint are written. Resolves when the witness has said something to it, or is away. */
  show(note: string, key: NoteKey): Promise<void> {
    this.#next = { note, key }
    this.#asking ??= this.#all()
    return this.#asking
  }

  async #all(): Promise<void> {
    try {
      for (let next = this.#next; next !== undefined; next = this.#next) {
        this.#next = undefined
        await this.#one(next.note, next.key)
      }
    } finally {
      this.#asking = undefined
    }
  }

  async #one(checkpoint: string, key: NoteKey): Promise<void> {
    const { directory, ask } = this.#options
    const size = openCheckpoint(checkpoint, key)?.size ?? 0
    // What the witness knows may not be what is thought here: it says so, and is asked once more.
    for (let attempt = 0; attempt < 2; attempt++) {
      const old = this.#size
      let answer: WitnessAnswer
      try {
        const proof = old === 0 || old > size ? [] : new HashTree(new Tiles(directory), size).consistency(old)
        answer = await ask({ key: key.text, old, proof: proof.map((hash) => hash.toString('base64')), checkpoint })
      } catch {
        // It is away, or the tiles are those of a later checkpoint already: that one is shown next.
        return
      }
      this.#size = answer.size
      if (answer.cosignature !== undefined) {
        this.#refused = undefined
        await replaceFile(join(directory, 'checkpoint.witnessed'), `${checkpoint}${answer.cosignature}\n`, 0o600)
        return
      }
      if (answer.refused === 'other size') continue
      if (answer.refused !== this.#refused) this.#options.onRefused(answer.refused ?? 'for no reason')
      this.#refused = answer.refused
      return
    }
  }
}
