/**
 * Where everything listens on this one host, and where it lies on disk. `portOffset` moves every port, so two copies run side by side.
 *
 *   clients ─▶ NGINX 127.0.0.1:9342 ─▶ gateway 127.0.0.1:9242 ─▶ sidecar N 127.0.0.N:9042 ─▶ Cassandra N 127.0.1.N:9042
 *
 * Cassandra tells drivers the address 127.0.0.N with its own native port, which is where the sidecar listens, so nothing has to be
 * rewritten. In a plain layout the sidecar's port 9042 takes no TLS (loopback, one fixed identity) and 9142 takes mesh links and TLS.
 *
 *   browsers ─▶ NGINX 127.0.0.1:9642 ─▶ web application 127.0.0.1:9742, of whom NGINX asks the gateway at 127.0.0.1:9542
 */
import { createServer } from 'node:net'
import { join } from 'node:path'
import { RingfenceError } from '../../src/base/errors.ts'

export interface HostPort {
  readonly address: string
  readonly port: number
}

export const trustDomain = 'demo.local'
export const dataCenter = 'datacenter1'
export const rack = 'rack1'

/** The SPIFFE ids of the mesh's own parts and of the nodes. */
export const spiffeIds = {
  gateway: `spiffe://${trustDomain}/ringfence/gateway/gateway1`,
  gateway2: `spiffe://${trustDomain}/ringfence/gateway/gateway2`,
  sidecar: (cluster: string, index: number): string =>
    `spiffe://${trustDomain}/ringfence/sidecar/${cluster}/${dataCenter}/node${index}`,
  cassandra: (index: number): string => `spiffe://${trustDomain}/cassandra/node${index}`,
  service: (name: string): string => `spiffe://${trustDomain}/svc/${name}`,
  person: (provider: string, name: string): string => `spiffe://${trustDomain}/user/${provider}/${name}`,
} as const

export interface Layout {
  readonly stateDir: string
  readonly control: HostPort
  readonly gateway: HostPort
  /** The gateway without NGINX, for measurements. At the address that it advertises, for some drivers keep only the port that they began with. */
  readonly gatewayDirect: HostPort
  readonly nginx: HostPort
  /** A second gateway that drivers reach without NGINX. */
  readonly gateway2: HostPort
  /** Where NGINX asks the gateway who a browser is. */
  readonly gatewayHttp: HostPort
  /** The pages of the web application, which are NGINX's. */
  readonly site: HostPort
  /** The web application itself, behind NGINX only. */
  readonly application: HostPort
  /** Identity providers, of people and of the cloud job. */
  readonly corp: HostPort
  readonly cloud: HostPort
  /** Admin ports: probes, and metrics for Prometheus. */
  readonly admin: { readonly control: HostPort; readonly gateway: HostPort; readonly gateway2: HostPort }
  readonly nodes: readonly NodeLayout[]
  readonly storagePort: number
  readonly dirs: {
    readonly control: string
    readonly gateway: string
    readonly gateway2: string
    readonly nginx: string
    readonly cassandra: string
    readonly conf: string
    readonly workloads: string
    readonly providers: string
  }
}

export interface NodeLayout {
  readonly index: number
  /** Where drivers connect, and what Cassandra says they should. */
  readonly sidecar: HostPort
  /** A second listener with TLS where the first has none. */
  readonly sidecarTls: HostPort
  readonly sidecarAdmin: HostPort
  readonly sidecarDir: string
  /** Where Cassandra itself listens. */
  readonly cql: HostPort
  readonly cassandraDir: string
  /** On loopback, where the node has one. */
  readonly jmxPort: number
}

const highestPort = 9942

export function layoutOf(stateDir: string, nodes: number, portOffset: number): Layout {
  const highest = highestPort + portOffset
  if (!Number.isInteger(portOffset) || portOffset < 0 || highest > 65_535) {
    throw new RingfenceError('USAGE', `--port-offset ${portOffset} is not between 0 and ${65_535 - highestPort}`)
  }
  const at = (address: string, port: number): HostPort => ({ address, port: port + portOffset })
  return {
    stateDir,
    control: at('127.0.0.1', 8443),
    gateway: at('127.0.0.1', 9242),
    gatewayDirect: at('127.0.0.1', 9442),
    nginx: at('127.0.0.1', 9342),
    gateway2: at('127.0.0.2', 9342),
    gatewayHttp: at('127.0.0.1', 9542),
    site: at('127.0.0.1', 9642),
    application: at('127.0.0.1', 9742),
    corp: at('127.0.0.1', 9842),
    cloud: at('127.0.0.1', 9942),
    admin: { control: at('127.0.0.1', 9464), gateway: at('127.0.0.1', 9463), gateway2: at('127.0.0.2', 9463) },
    storagePort: 7000 + portOffset,
    nodes: Array.from({ length: nodes }, (_, i) => i + 1).map((index) => ({
      index,
      sidecar: at(`127.0.0.${index}`, 9042),
      sidecarTls: at(`127.0.0.${index}`, 9142),
      sidecarAdmin: at(`127.0.0.${index}`, 9465),
      sidecarDir: join(stateDir, 'sidecar', `node${index}`),
      cql: at(`127.0.1.${index}`, 9042),
      cassandraDir: join(stateDir, 'cassandra', `node${index}`),
      jmxPort: 7000 + 100 * index + portOffset,
    })),
    dirs: {
      control: join(stateDir, 'control'),
      gateway: join(stateDir, 'gateway'),
      gateway2: join(stateDir, 'gateway2'),
      nginx: join(stateDir, 'nginx'),
      cassandra: join(stateDir, 'cassandra'),
      conf: join(stateDir, 'conf'),
      workloads: join(stateDir, 'workloads'),
      providers: join(stateDir, 'providers'),
    },
  }
}

/** Throws CONFIG with the first address that somebody else listens at. */
export async function requireFree(addresses: readonly HostPort[]): Promise<void> {
  for (const { address, port } of addresses) {
    const code = await new Promise<string | undefined>((resolve) => {
      const server = createServer()
      server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
      server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(undefined)))
    })
    if (code === undefined) continue
    throw new RingfenceError('CONFIG', `${address}:${port} cannot be listened at (${code})`, {
      hint: 'another program has it; stop that one, or move all ports: --port-offset 1000',
    })
  }
}

export function show({ address, port }: HostPort): string {
  return `${address}:${port}`
}
