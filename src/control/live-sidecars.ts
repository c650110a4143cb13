/** Where sidecars take mesh links: what they report, kept in the store too, as with gateways. */
import type { SidecarEndpoint } from '../mesh/endpoints.ts'
import type { Store } from './store.ts'

export class LiveSidecars {
  readonly #store: Store
  readonly #endpoints: Map<string, SidecarEndpoint>

  constructor(store: Store) {
    this.#store = store
    this.#endpoints = new Map(store.sidecars().map((endpoint) => [endpoint.spiffeId, endpoint]))
  }

  get endpoints(): SidecarEndpoint[] {
    return [...this.#endpoints.values()]
  }

  get spiffeIds(): string[] {
    return [...this.#endpoints.keys()]
  }

  /** True when it is another now. */
  put(endpoint: SidecarEndpoint): boolean {
    const before = this.#endpoints.get(endpoint.spiffeId)
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(endpoint)) return false
    this.#endpoints.set(endpoint.spiffeId, endpoint)
    this.#store.putSidecar(endpoint)
    return true
  }

  /** True when it was there. */
  remove(spiffeId: string): boolean {
    if (!this.#endpoints.delete(spiffeId)) return false
    this.#store.removeSidecar(spiffeId)
    return true
  }
}
