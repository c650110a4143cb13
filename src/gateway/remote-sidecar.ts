/**
 * One sidecar as a gateway worker knows it: where it is, the link that leads there now, and how it is doing. It outlives its links, which
 * are replaced whenever a certificate is.
 */
import type { SidecarEndpoint } from '../mesh/endpoints.ts'
import type { GatewayLink } from './link.ts'
import { Load } from './routing/balance.ts'

/** Where a gateway stands; what is left out is not told apart. */
export interface Locality {
  readonly dataCenter?: string | undefined
  readonly rack?: string | undefined
}

/** How much busier a node of the gateway's own rack must be before one of another rack is asked. */
const otherRack = 4

export class RemoteSidecar {
  /** Below the number of sidecars that there ever were at one time; used again when a sidecar is gone. */
  readonly index: number
  endpoint: SidecarEndpoint
  link: GatewayLink | undefined
  readonly load = new Load()
  /** The node's id; empty until its sidecar said hello. */
  hostId = ''
  /** False for a node of another data centre: a coordinator there would change what LOCAL_QUORUM means. */
  local = true
  /** What the cost of this sidecar is multiplied with. */
  distance = 1

  constructor(index: number, endpoint: SidecarEndpoint) {
    this.index = index
    this.endpoint = endpoint
  }

  /** Takes requests, and may be asked from here. */
  get usable(): boolean {
    return this.local && this.link?.usable === true
  }

  /** What its sidecar said of its node. True when that changes where requests may go. */
  introduce(locality: Locality): boolean {
    const hello = this.link?.hello
    if (hello === undefined) return false
    const local = locality.dataCenter === undefined || locality.dataCenter === hello.dataCenter
    const distance = locality.rack === undefined || locality.rack === hello.rack ? 1 : otherRack
    const changed = hello.hostId !== this.hostId || local !== this.local || distance !== this.distance
    this.hostId = hello.hostId
    this.local = local
    this.distance = distance
    return changed
  }
}

/** The one that costs least, of those that can be asked and are not `except`; one that is ejected only where there is no other. */
export function cheapest(
  sidecars: readonly RemoteSidecar[],
  nowMicros: number,
  except?: RemoteSidecar,
): RemoteSidecar | undefined {
  let best: RemoteSidecar | undefined
  let bestCost = Number.POSITIVE_INFINITY
  for (const sidecar of sidecars) {
    if (!sidecar.usable || sidecar === except) continue
    let cost = sidecar.load.cost(nowMicros) * sidecar.distance
    if (sidecar.load.ejected(nowMicros)) cost *= 1e6
    // Of equals, as all are at first, the one with fewer sessions.
    if (cost > bestCost || (cost === bestCost && best !== undefined && sidecar.load.primaries >= best.load.primaries))
      continue
    best = sidecar
    bestCost = cost
  }
  return best
}
