/**
 * What the mesh's shared keys are used for here: pages that any sidecar of the mesh can open again, and hashes that are the same everywhere.
 */
import type { MeshKey } from '../mesh/mesh-keys.ts'
import { maskKeyOf, PagingSeal } from './seal.ts'

export class Secrets {
  readonly #nowMs: () => number
  #seal: PagingSeal
  #masks: readonly MeshKey[]
  #maskKey: Buffer
  /** When another mask key comes into force. */
  #nextMs: number

  constructor(keys: readonly MeshKey[], nowMs: () => number = Date.now) {
    this.#nowMs = nowMs
    this.#seal = sealOf(keys)
    this.#masks = keys
    const { key, nextMs } = maskKeyOf(keys, nowMs())
    this.#maskKey = key
    this.#nextMs = nextMs
  }

  /** New keys; what was sealed with one that is still among them can be opened. */
  use(keys: readonly MeshKey[]): void {
    this.#seal = sealOf(keys)
    this.#masks = keys
    this.#changeMask(this.#nowMs())
  }

  get seal(): PagingSeal {
    return this.#seal
  }

  get maskKey(): Buffer {
    const nowMs = this.#nowMs()
    if (nowMs >= this.#nextMs) this.#changeMask(nowMs)
    return this.#maskKey
  }

  #changeMask(nowMs: number): void {
    const { key, nextMs } = maskKeyOf(this.#masks, nowMs)
    this.#maskKey = key
    this.#nextMs = nextMs
  }
}

function sealOf(keys: readonly MeshKey[]): PagingSeal {
  return new PagingSeal(keys.filter(({ use }) => use !== 'masks'))
}
