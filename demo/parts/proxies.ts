/** Sidecars and gateways, with configuration files that are written here and join tokens for the addresses that drivers dial. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { RingfenceError } from '../../src/base/errors.ts'
import { isOpen } from './cassandra.ts'
import { dataCenter, type HostPort, type NodeLayout, rack, show, spiffeIds } from './layout.ts'
import { controlUrlOf, type Making, sidecarIdOf } from './mesh-options.ts'
import { type MeshPart, partOf, spawnRingfence, untilReady } from './part.ts'
import { gatewayHttp } from './people.ts'

interface Proxy {
  readonly name: string
  readonly role: 'sidecar' | 'gateway'
  readonly config: object
  readonly stateDir: string
  readonly spiffeId: string
  /** Open when it is ready. */
  readonly listener: HostPort
  readonly dialled: HostPort
}

/** One that is not used, for the proxy has an identity that is good, keeps a root from its turn until it is over. */
const tokenMs = 120_000

export function sidecarPart(making: Making, node: NodeLayout): MeshPart {
  const { sidecar, sidecarTls, cql, sidecarDir, index } = node
  const { plainIdentity } = making.options
  const asked = askedOf(making)
  const listeners =
    plainIdentity === undefined
      ? [{ ...sidecar, tls: true, ...asked }]
      : [
          { ...sidecarTls, tls: true, ...asked },
          { ...sidecar, tls: false, identity: plainIdentity },
        ]
  const config = configOf(making, 'Sidecar', `node${index}`, {
    dataCenter,
    rack,
    upstream: { ...cql, spiffeId: spiffeIds.cassandra(index) },
    listeners,
    audit: { directory: 'audit' },
    admin: { listen: show(node.sidecarAdmin) },
  })
  return proxyPart(making, {
    name: `sidecar-${index}`,
    role: 'sidecar',
    config,
    stateDir: sidecarDir,
    spiffeId: sidecarIdOf(making, index),
    listener: sidecar,
    dialled: sidecar,
  })
}

export function gatewayPart(making: Making): MeshPart {
  const { gateway, gatewayDirect, nginx, dirs } = making.layout
  const { gatewayWorkers: workers, measuredAs, people } = making.options
  const config = configOf(making, 'Gateway', 'gateway1', {
    workers,
    listeners: [
      { ...gateway, ...askedOf(making), proxyProtocol: { from: ['127.0.0.1/32'] } },
      ...(measuredAs === undefined ? [] : [{ ...gatewayDirect, tls: true }]),
    ],
    advertise: [nginx],
    admin: { listen: show(making.layout.admin.gateway) },
    ...(people === true ? { http: gatewayHttp(making.layout) } : {}),
  })
  return proxyPart(making, {
    name: 'gateway',
    role: 'gateway',
    config,
    stateDir: dirs.gateway,
    spiffeId: spiffeIds.gateway,
    listener: gateway,
    dialled: nginx,
  })
}

/** A second gateway, with one worker, that drivers reach without NGINX. */
export function spareGatewayPart(making: Making): MeshPart {
  const { gateway2, dirs } = making.layout
  const admin = { listen: show(making.layout.admin.gateway2) }
  const spec = { workers: 1, listeners: [{ ...gateway2, ...askedOf(making) }], advertise: [gateway2], admin }
  return proxyPart(making, {
    name: 'gateway-2',
    role: 'gateway',
    config: configOf(making, 'Gateway', 'gateway2', spec),
    stateDir: dirs.gateway2,
    spiffeId: spiffeIds.gateway2,
    listener: gateway2,
    dialled: gateway2,
  })
}

function askedOf({ options: { authentication } }: Making): { readonly authentication?: string } {
  return authentication === undefined ? {} : { authentication }
}

function configOf({ layout }: Making, kind: 'Sidecar' | 'Gateway', name: string, spec: object): object {
  const control = { url: controlUrlOf(layout) }
  return { apiVersion: 'ringfence.dev/v1alpha1', kind, metadata: { name }, spec: { control, ...spec } }
}

function proxyPart({ layout, admin, processes }: Making, proxy: Proxy): MeshPart {
  const { name, role, config, stateDir, spiffeId, listener, dialled } = proxy
  const configFile = join(layout.dirs.conf, `${name}.yaml`)
  writeFileSync(configFile, stringify(config))
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  // Drivers that check host names find the address that they connected to.
  const ipAddresses = [dialled.address]
  return partOf(name, async (own) => {
    // An identity that is still good is kept and the token not used; without the control plane only such a one will do.
    const made = await admin.makeToken({ spiffeId, role, ipAddresses, ttlMs: tokenMs }).catch((reason: unknown) => {
      if (reason instanceof RingfenceError && reason.code === 'UNAVAILABLE') return undefined
      throw reason
    })
    const joining = made === undefined ? {} : { [`RINGFENCE_${role.toUpperCase()}_TOKEN`]: made.token }
    const env = { ...own, ...joining }
    const child = await spawnRingfence(processes, name, [role, '--config', configFile, '--state-dir', stateDir], env)
    await untilReady(child, () => isOpen(listener.address, listener.port))
    return child
  })
}
