/**
 * The whole data path in one process: a certificate authority, sidecars and gateways as they are, fake nodes behind them. Nothing here
 * needs a control plane: the feeds are in a test's hand.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SealedLines } from '../../src/audit/sealed/lines.ts'
import { segmentsOf } from '../../src/audit/sealed/recover.ts'
import type { BytesBudget } from '../../src/base/bytes-budget.ts'
import { systemClock } from '../../src/base/clock.ts'
import { CertificateAuthority } from '../../src/control/ca.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import type { OutsideCalls } from '../../src/identity/outside/outside.ts'
import { parseSpiffeId } from '../../src/identity/spiffe.ts'
import type { Credentials } from '../../src/mesh/credentials.ts'
import { credentialsOf } from '../../src/mesh/credentials.ts'
import type { AdvertisedAddress, GatewayEndpoint, SidecarEndpoint } from '../../src/mesh/endpoints.ts'
import { FakeFeed } from '../../src/mesh/feed.fixture.ts'
import { type DoorBounds, doorBounds } from '../../src/session/doors.ts'
import type { ListenerConfig } from '../../src/session/listener.ts'
import type { PlaceBounds } from '../../src/session/places.ts'
import type { RefusalMode } from '../../src/session/refusals.ts'
import type { SidecarConfig } from '../../src/sidecar/config.ts'
import { linkedBounds } from '../../src/sidecar/links.ts'
import { Sidecar, type SidecarOptions } from '../../src/sidecar/sidecar.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import type { Traces } from '../../src/telemetry/traces/traces.ts'
import { freePort } from '../free-port.ts'
import { type ClientOptions, RawClient } from './client.ts'
import { FakeNode } from './fake-node.ts'
import { evenTokens, type FakePlace } from './fake-topology.ts'

const hourMs = 3_600_000

/** Alice may do everything in shop and play, Bob reads shop, Carol nothing. */
export const usualPolicy = `
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: alice-shop }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/alice }, { person: corp/alice }]
  keyspaces: [shop, play]
  operations: [ALL]
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: bob-shop }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/bob }]
  keyspaces: [shop]
  operations: [READ, SCAN]
`

export interface RunningSidecar {
  readonly sidecar: Sidecar
  readonly node: FakeNode
  readonly feed: FakeFeed
  readonly port: number
  readonly endpoint: SidecarEndpoint
  readonly auditDirectory: string
  /** The records so far, oldest first. */
  records(): Record<string, unknown>[]
}

export interface RunningGateway {
  readonly gateway: Gateway
  readonly feed: FakeFeed
  readonly port: number
  /** As the control plane would tell of it. */
  readonly endpoints: readonly GatewayEndpoint[]
}

export class World {
  readonly ca: CertificateAuthority
  /** Its authority is in `ca`, as a control plane's is in its state folder. */
  readonly folder: string
  readonly #closers: (() => Promise<void> | void)[] = []
  readonly #certificates = new Map<string, Promise<Credentials>>()
  /** What sidecars and gateways logged, line by line. */
  readonly logged: string[] = []
  readonly #log = createLogger('world', {
    write: (line) => {
      this.logged.push(line)
      if (process.env.RINGFENCE_LOG !== undefined) process.stderr.write(line)
    },
  })

  private constructor(ca: CertificateAuthority, folder: string) {
    this.ca = ca
    this.folder = folder
  }

  static async make(trustDomain = 'demo.local'): Promise<World> {
    const folder = mkdtempSync(join(tmpdir(), 'ringfence-path-'))
    return new World(await CertificateAuthority.open(join(folder, 'ca'), trustDomain, systemClock), folder)
  }

  /** `svc/alice`, an hour long unless said otherwise; made once for each name and life. */
  credentials(path: string, ttlMs = hourMs): Promise<Credentials> {
    const key = `${path} ${ttlMs}`
    const known = this.#certificates.get(key) ?? this.freshCredentials(path, ttlMs)
    this.#certificates.set(key, known)
    return known
  }

  async freshCredentials(
    path: string,
    ttlMs = hourMs,
    listenerIdentities: readonly string[] = [],
  ): Promise<Credentials> {
    const spiffeId = parseSpiffeId(`spiffe://${this.ca.trustDomain}/${path}`)
    const { certificatePem, keyPem } = await this.ca.mint({ spiffeId, ttlMs, listenerIdentities })
    return credentialsOf(certificatePem, keyPem, this.ca.bundlePem)
  }

  /** `place`: of the node itself, by default alone in dc1; `peers`: the others that it knows. */
  async node(place: Partial<FakePlace> = {}, peers: readonly FakePlace[] = []): Promise<FakeNode> {
    const node = new FakeNode(await this.credentials('cassandra/node1'), place)
    node.topology.peers = peers
    await node.start()
    this.#closers.unshift(() => node.stop().catch(() => {}))
    return node
  }

  async sidecar(
    options: {
      name?: string
      node?: FakeNode
      plainIdentity?: string
      authentication?: readonly string[]
      proxyFrom?: string[]
      share?: 'mesh' | 'identity'
      connections?: number
      policy?: string
      bounds?: Partial<DoorBounds>
      linkedBounds?: Partial<PlaceBounds>
      budget?: BytesBudget
      audit?: Omit<SidecarConfig['audit'], 'directory'>
      nowMs?: () => number
      gracefulDisconnect?: boolean
      traces?: Traces
      more?: Pick<SidecarOptions, 'consumers' | 'barrier' | 'stages' | 'outside' | 'firstUse' | 'limitShares'>
    } = {},
  ): Promise<RunningSidecar> {
    const { name = 'node1', share = 'mesh', connections = 2 } = options
    const node = options.node ?? (await this.node())
    const { dataCenter, rack } = node.topology.place
    const credentials = await this.freshCredentials(`ringfence/sidecar/test/${dataCenter}/${name}`)
    const feed = new FakeFeed(credentials, { revision: 1, source: options.policy ?? usualPolicy })
    const listener: ListenerConfig =
      options.plainIdentity === undefined
        ? {
            address: '127.0.0.1',
            port: 0,
            tls: true,
            authentication: options.authentication,
            gracefulDisconnect: options.gracefulDisconnect,
            ...(options.proxyFrom === undefined ? {} : { proxyProtocol: { from: options.proxyFrom } }),
          }
        : { address: '127.0.0.1', port: 0, tls: false, identity: options.plainIdentity }
    const auditDirectory = join(this.folder, 'audit', `${name}-${node.port}`)
    const sidecar = new Sidecar({
      config: {
        name,
        control: { url: 'https://127.0.0.1:1' },
        dataCenter,
        rack,
        upstream: { address: '127.0.0.1', port: node.port, connections, share },
        listeners: [listener as never],
        audit: { directory: 'unused', ...options.audit },
      },
      feed,
      log: this.#log,
      auditDirectory,
      doorBounds: { ...doorBounds, ...options.bounds },
      linkedBounds: { ...linkedBounds, ...options.linkedBounds },
      ...(options.budget === undefined ? {} : { budget: options.budget }),
      ...(options.nowMs === undefined ? {} : { nowMs: options.nowMs }),
      traces: options.traces,
      ...options.more,
    })
    await sidecar.start()
    this.#closers.unshift(() => sidecar.stop(0))
    const port = sidecar.ports[0]!
    const running: RunningSidecar = {
      sidecar,
      node,
      feed,
      port,
      endpoint: { name, spiffeId: credentials.spiffeId, address: '127.0.0.1', port, dataCenter, rack },
      auditDirectory,
      records: () => recordsIn(auditDirectory),
    }
    if (node.port !== 0) await until('the sidecar knows its node', () => node.connections.size > 0 && introduced(node))
    return running
  }

  /**
   * `count` nodes that know of each other, with a sidecar for each, named node1, node2, …; each has `tokensPerNode` tokens, spread evenly.
   * @param options `dataCenters` are gone round in turn, so that neighbours on the ring are in different ones. `replication` is that of
   *   keyspace `shop`, without `class`; by default all nodes of each data centre, three at most
   */
  async ring(
    count: number,
    options: {
      dataCenters?: readonly string[]
      replication?: Readonly<Record<string, number>>
      tokensPerNode?: number
      sidecar?: Omit<Parameters<World['sidecar']>[0] & {}, 'name' | 'node'>
    } = {},
  ): Promise<RunningSidecar[]> {
    const { dataCenters = ['dc1'], tokensPerNode = 4 } = options
    const places = Array.from({ length: count }, (_, turn) => ({
      hostId: `00000000-0000-4000-8000-${String(turn + 1).padStart(12, '0')}`,
      dataCenter: dataCenters[turn % dataCenters.length]!,
      rack: 'rack1',
      tokens: evenTokens(turn, count, tokensPerNode),
    }))
    const nodesOf = (name: string): number => places.filter(({ dataCenter }) => dataCenter === name).length
    const replicas = Object.fromEntries(dataCenters.map((name) => [name, Math.min(nodesOf(name), 3)]))
    const strategy = new Map([['class', 'org.apache.cassandra.locator.NetworkTopologyStrategy']])
    for (const [name, factor] of Object.entries(options.replication ?? replicas)) strategy.set(name, String(factor))
    return await Promise.all(
      places.map(async (place, turn) => {
        const node = await this.node(
          place,
          places.filter((other) => other !== place),
        )
        node.schema.replication.set('shop', strategy)
        return await this.sidecar({ ...options.sidecar, name: `node${turn + 1}`, node })
      }),
    )
  }

  async gateway(
    sidecars: readonly RunningSidecar[],
    options: {
      name?: string
      proxyFrom?: string[]
      plainIdentity?: string
      authentication?: string[]
      refusal?: RefusalMode
      /** Those that its join token named; by default the one of its plain listener. */
      listenerIdentities?: readonly string[]
      advertise?: AdvertisedAddress[]
      locality?: { dataCenter?: string; rack?: string }
      bounds?: Partial<DoorBounds>
      budget?: BytesBudget
      traces?: Traces
      outside?: OutsideCalls
    } = {},
  ): Promise<RunningGateway> {
    const { name = 'gateway1', locality = {} } = options
    const { plainIdentity, listenerIdentities = plainIdentity === undefined ? [] : [plainIdentity] } = options
    const credentials = await this.freshCredentials(`ringfence/gateway/${name}`, hourMs, listenerIdentities)
    const feed = new FakeFeed(credentials, {
      revision: 1,
      source: usualPolicy,
    })
    feed.place(sidecars.map(({ endpoint }) => endpoint))
    const port = await freePort()
    const common = { address: '127.0.0.1', port }
    const advertise = options.advertise ?? [common]
    const gateway = new Gateway({
      config: {
        name,
        control: { url: 'https://127.0.0.1:1' },
        workers: 1,
        listeners: [
          plainIdentity === undefined
            ? {
                ...common,
                tls: true,
                authentication: options.authentication,
                refusal: options.refusal,
                ...(options.proxyFrom === undefined ? {} : { proxyProtocol: { from: options.proxyFrom } }),
              }
            : { ...common, tls: false, identity: plainIdentity },
        ],
        advertise,
        locality,
      },
      feed,
      log: this.#log,
      doorBounds: { ...doorBounds, ...options.bounds },
      outside: options.outside,
      traces: options.traces,
      ...(options.budget === undefined ? {} : { budget: options.budget }),
    })
    await gateway.start()
    this.#closers.unshift(() => gateway.stop(0))
    if (sidecars.length > 0) {
      await until('the gateway has its links', () => feed.report?.().upstreamConnections === sidecars.length)
    }
    const { spiffeId } = credentials
    const endpoints = advertise.map((place) => ({ name, spiffeId, ...place, ...locality }))
    return { gateway, feed, port, endpoints }
  }

  /** READY as `svc/<who>`. */
  async client(port: number, who: string, options: Partial<ClientOptions> = {}): Promise<RawClient> {
    const client = await RawClient.open({ credentials: await this.credentials(`svc/${who}`), ...options, port })
    this.#closers.unshift(() => client.close())
    return client
  }

  /** Connected only. */
  async connect(port: number, who: string | undefined, options: Partial<ClientOptions> = {}): Promise<RawClient> {
    const credentials = who === undefined ? undefined : await this.credentials(`svc/${who}`)
    const client = await RawClient.connect({ credentials, ...options, port })
    this.#closers.unshift(() => client.close())
    return client
  }

  async close(): Promise<void> {
    for (const close of this.#closers) await close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Of either kind. */
function recordsIn(directory: string): Record<string, unknown>[] {
  const lines: string[] = []
  const sealed = new SealedLines((line) => lines.push(line))
  for (const path of segmentsOf(directory)) sealed.segment(readFileSync(path))
  for (const file of readdirSync(directory).sort())
    if (file.endsWith('.jsonl')) lines.push(...readFileSync(join(directory, file), 'utf8').split('\n'))
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>)
}

function introduced(node: FakeNode): boolean {
  return [...node.connections].some(
    ({ registered, versionsAsked, ringAsked }) => registered.length > 0 && versionsAsked >= 2 && ringAsked >= 2,
  )
}

/** Polls; throws after five seconds. */
export async function until(what: string, condition: () => boolean, msMax = 15_000): Promise<void> {
  const deadline = performance.now() + msMax
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${msMax} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
