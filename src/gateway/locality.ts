/** Where gateways stand, which is the data centre and rack that their virtual hosts show. */
import type { Locality } from './remote-sidecar.ts'

export interface Site {
  readonly dataCenter: string
  readonly rack: string
}

/** Cassandra's own name for the rack of who has none. */
const usualRack = 'rack1'

/**
 * As the configuration says. Else it is the alphabetically first data centre that a sidecar of the mesh ever named. So all gateways say the
 * same, and go on saying it when that data centre's sidecars are away. Drivers would take a change for a moved node.
 */
export class Localities {
  readonly #configured: Locality
  /** By the sidecar's SPIFFE id; what its node says counts, and until that is known what its configuration says. */
  readonly #sidecars = new Map<string, Site>()

  constructor(configured: Locality = {}) {
    this.#configured = configured
  }

  /** What the control plane tells of a sidecar. */
  announced(spiffeId: string, { dataCenter = '', rack = '' }: Locality): void {
    if (dataCenter !== '' && !this.#sidecars.has(spiffeId)) this.#sidecars.set(spiffeId, { dataCenter, rack })
  }

  /** What a sidecar's node says itself. */
  reported(spiffeId: string, { dataCenter, rack }: Site): void {
    if (dataCenter !== '') this.#sidecars.set(spiffeId, { dataCenter, rack })
  }

  /** Where this gateway stands; an empty data centre while nothing is configured and no sidecar has named one. */
  get own(): Site {
    return this.of(this.#configured)
  }

  /** Where any gateway stands, by what its configuration says. */
  of({ dataCenter = this.#firstDataCenter(), rack }: Locality): Site {
    return { dataCenter, rack: rack ?? this.#firstRackOf(dataCenter) }
  }

  #firstDataCenter(): string {
    return [...this.#sidecars.values()].map(({ dataCenter }) => dataCenter).sort()[0] ?? ''
  }

  #firstRackOf(dataCenter: string): string {
    const racks = [...this.#sidecars.values()].filter((site) => site.dataCenter === dataCenter && site.rack !== '')
    return racks.map(({ rack }) => rack).sort()[0] ?? usualRack
  }
}
