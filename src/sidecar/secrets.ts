/**
 * What the mesh's shared keys are used for here: pages that any sidecar of the mesh can open again, and hashes that are the same everywhere.
 */
import type { MeshKey } from '../agent/api.ts'
import { maskKeyOf, PagingSeal } from './seal.ts'

export class Secrets {
  #seal: PagingSeal
  #maskKey: Buffer

  constructor(keys: readonly MeshKey[]) {
    this.#seal = new PagingSeal(keys)
    this.#maskKey = maskKeyOf(keys)
  }

  /** New keys; what was sealed with one that is still among them can be opened. */
  use(keys: readonly MeshKey[]): void {
    this.#seal = new PagingSeal(keys)
    this.#maskKey = maskKeyOf(keys)
  }

  get seal(): PagingSeal {
    return this.#seal
  }

  get maskKey(): Buffer {
    return this.#maskKey
  }
}
