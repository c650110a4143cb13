/**
 * Which addresses lead to a live gateway, and whether it is about to stop. Gateways report it. It is kept in the store too, so that a
 * restarted control plane does not tell drivers that there are none.
 */

import { inetBytes } from '../cql/text-bytes.ts'
import { type GatewayEndpoint, gatewayEndpointsMax } from '../mesh/endpoints.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import type { AgentRow, Store } from './store.ts'

export class LiveGateways {
  readonly #store: Store
  readonly #endpoints: Map<string, readonly GatewayEndpoint[]>

  constructor(store: Store) {
    this.#store = store
    this.#endpoints = store.gateways()
  }

  /** One entry for each address of each gateway, ordered by SPIFFE id, then as that gateway has them. */
  get endpoints(): GatewayEndpoint[] {
    const ordered = [...this.#endpoints].sort(([a], [b]) => (a < b ? -1 : 1))
    return ordered.flatMap(([, endpoints]) => endpoints).slice(0, gatewayEndpointsMax)
  }

  get spiffeIds(): string[] {
    return [...this.#endpoints.keys()]
  }

  of(spiffeId: string): readonly GatewayEndpoint[] {
    return this.#endpoints.get(spiffeId) ?? []
  }

  /** Of one that stays. */
  staying(spiffeId: string): readonly GatewayEndpoint[] {
    return this.of(spiffeId).filter(({ leaving }) => leaving !== true)
  }

  /** True when the list is another now. */
  take(agent: AgentRow, report: Partial<ProxyReport>): boolean {
    const endpoints = this.#endpointsOf(agent, report)
    if (endpoints.length === 0) return this.remove(agent.spiffeId)
    if (JSON.stringify(this.of(agent.spiffeId)) === JSON.stringify(endpoints)) return false
    this.#endpoints.set(agent.spiffeId, endpoints)
    this.#store.putGateway(agent.spiffeId, endpoints)
    return true
  }

  /** One that is about to stop stays on the list, as leaving, until it says that no worker of it is there any more. */
  #endpointsOf(agent: AgentRow, report: Partial<ProxyReport>): readonly GatewayEndpoint[] {
    const endpoints = endpointsOf(agent, report)
    if (report.draining !== true || endpoints.length === 0) return endpoints
    return this.of(agent.spiffeId).map((endpoint) => ({ ...endpoint, leaving: true }))
  }

  /** True when it was there. */
  remove(spiffeId: string): boolean {
    if (!this.#endpoints.delete(spiffeId)) return false
    this.#store.removeGateway(spiffeId)
    return true
  }
}

/**
 * All gateways tell their drivers what one of them reports, so a gateway that was taken over could draw everybody's clients to itself.
 * Where its join token named addresses, it may therefore name no others.
 */
function endpointsOf({ spiffeId, name, ipAddresses }: AgentRow, report: Partial<ProxyReport>): GatewayEndpoint[] {
  const { advertise = [], dataCenter, rack } = report
  const allowed = new Set(ipAddresses.map(sameForSame))
  return advertise
    .filter(({ address }) => allowed.size === 0 || allowed.has(sameForSame(address)))
    .map(({ address, port }) => ({
      name,
      spiffeId,
      address,
      port,
      ...(dataCenter === undefined ? {} : { dataCenter }),
      ...(rack === undefined ? {} : { rack }),
    }))
}

/** IPv6 addresses can be written in many ways. */
function sameForSame(address: string): string {
  return inetBytes(address).toString('hex')
}
