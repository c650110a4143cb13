/** What a sidecar reports of itself: how it is, and where it can be reached. */
import type { ShippingFigures } from '../audit/sealed/shipping.ts'
import type { AuditFigures } from '../audit/writer.ts'
import type { BytesBudget } from '../base/bytes-budget.ts'
import type { SpiffeId } from '../identity/spiffe.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import type { ClientConnection } from '../session/connection.ts'
import type { SidecarConfig } from './config.ts'
import type { LinkServer } from './links.ts'
import type { Shared } from './shared.ts'

export interface ShownSidecar {
  readonly connections: ReadonlySet<ClientConnection>
  readonly links: ReadonlySet<LinkServer>
  readonly places: number
  readonly budget: BytesBudget
  readonly shared: Pick<Shared, 'pool' | 'disagreements' | 'transactions'>
  readonly record: AuditFigures
  /** Undefined where the record is not collected. */
  readonly shipping: ShippingFigures | undefined
  readonly policy: Pick<ProxyReport, 'policyRevision' | 'policyFault'>
  readonly nodeAway: boolean
  readonly stopping: boolean
}

type ReportedPart = Pick<
  ProxyReport,
  'connections' | 'sessions' | 'upstreamConnections' | 'nodeAway' | 'recordFailed' | 'recordUncollected'
>

/** What of it stands in each report. */
export function reportedOf({ connections, links, shared, shipping, nodeAway }: ShownSidecar): ReportedPart {
  return {
    connections: connections.size + links.size,
    sessions: connections.size + sessionsLinked(links),
    upstreamConnections: shared.pool.connectionsOpen,
    nodeAway,
    recordFailed: shared.transactions.blocked,
    recordUncollected: shipping?.uncollectedWhy,
  }
}

export function sessionsLinked(links: ShownSidecar['links']): number {
  let count = 0
  for (const link of links) count += link.sessionsOpen
  return count
}

/** @param ports that are listened on, in the order of the configuration */
export function reachedAt(
  { name, dataCenter, rack, listeners }: SidecarConfig,
  spiffeId: SpiffeId,
  ports: readonly number[],
): Pick<ProxyReport, 'endpoint' | 'listeners'> {
  const tls = listeners.findIndex((listener) => listener.tls)
  const endpoint = listeners[tls]
  const port = ports[tls] ?? endpoint?.port ?? 0
  return {
    ...(endpoint === undefined
      ? {}
      : { endpoint: { name, spiffeId, address: endpoint.address, port, dataCenter, rack } }),
    listeners: listeners.map(({ address, tls: secured, proxyProtocol }, index) => ({
      address,
      port: ports[index] ?? 0,
      tls: secured,
      proxyProtocol: proxyProtocol !== undefined,
    })),
  }
}
