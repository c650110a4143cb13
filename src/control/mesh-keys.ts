/**
 * The secrets that gateways and sidecars share (`MeshKey`): made here, kept in the store, pushed to enrolled proxies and shown to nobody else.
 *
 *   newest: pushed, not used yet, so that every proxy has it before anything is sealed with it
 *   second: seals        third: opens what was sealed with it the day before
 *   first of all: kept for good, since the hashes that hide columns are made from it and have to stay equal
 */
import { randomBytes } from 'node:crypto'
import { type MeshKey, meshKeyBytes } from '../agent/api.ts'
import type { Clock } from '../base/clock.ts'
import type { Store } from './store.ts'

const lifeMs = 24 * 60 * 60 * 1000
const keptCount = 3

export class MeshKeys {
  readonly #store: Store
  readonly #clock: Clock
  #keys: readonly MeshKey[] = []
  #newestMs = 0

  /** Makes the first key where there is none, and the next where it is due. */
  constructor(store: Store, clock: Clock) {
    this.#store = store
    this.#clock = clock
    this.#read()
    this.rotateIfDue()
  }

  /** Newest first. */
  get keys(): readonly MeshKey[] {
    return this.#keys
  }

  /** True when it made one. A key made while the clock was a day ahead of now counts as old too. */
  rotateIfDue(): boolean {
    const nowMs = this.#clock.now()
    if (this.#keys.length > 0 && Math.abs(nowMs - this.#newestMs) < lifeMs) return false
    this.#store.addMeshKey(randomBytes(meshKeyBytes), nowMs, keptCount)
    this.#read()
    return true
  }

  #read(): void {
    const rows = this.#store.meshKeys()
    this.#keys = rows.map(({ id, key }) => ({ id, key }))
    this.#newestMs = rows[0]?.createdAtMs ?? 0
  }
}
