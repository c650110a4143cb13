/** What a sidecar reports of where it can be reached. */
import type { SpiffeId } from '../identity/spiffe.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import type { SidecarConfig } from './config.ts'

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
