/**
 * Which proxies live and what each runs. It is in memory. Only the addresses of sidecars and gateways are in the store too, so that a
 * restarted control plane does not tell the gateways that there are none.
 */
import type { Clock } from '../base/clock.ts'
import { contain, nothingEnds } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import type { GatewayEndpoint, SidecarEndpoint } from '../mesh/endpoints.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import type { DroppedPart, ReadReport } from '../mesh/report.ts'
import { revocationsAsOf } from '../mesh/revocations.ts'
import type { Logger } from '../telemetry/log.ts'
import { LiveGateways } from './live-gateways.ts'
import { LiveSidecars } from './live-sidecars.ts'
import { MeshKeys } from './mesh-keys.ts'
import { PolicyRevisions } from './policy-revisions.ts'
import type { PolicyConflict, ProxyStatus } from './proxy-status.ts'
import { Publisher } from './publisher.ts'
import type { AgentRow, Store } from './store.ts'
import { type TrafficLine, TrafficWindow } from './traffic.ts'

/** A proxy that has not reported for this long is shown as away, and leaves the list that gateways are told. */
const silentMsMax = 15_000
/** Reports come each second; one that comes after a longer pause is of a proxy that was away. */
const presentMsMax = 3_000

const emptyReport: ReadReport = { listeners: [], traffic: [] }

interface Proxy {
  report: ReadReport
  /** What of the last report was not understood. */
  dropped: readonly DroppedPart[]
  reportedMs: number
  /** When the reports without a longer pause began. */
  presentSinceMs: number
  certificateNotAfterMs: number
  clockSkewMs: number | undefined
}

export class Registry {
  readonly policies: PolicyRevisions
  readonly #clock: Clock
  readonly #store: Store
  readonly #publisher: Publisher
  readonly #keys: MeshKeys
  readonly #gateways: LiveGateways
  readonly #sidecars: LiveSidecars
  readonly #startedMs: number
  readonly #proxies = new Map<string, Proxy>()
  readonly #traffic = new TrafficWindow()
  readonly #onReport = new Set<(spiffeId: string) => void>()

  constructor(store: Store, clock: Clock, log: Pick<Logger, 'error'>, publisher: Publisher = new Publisher(log)) {
    this.#store = store
    this.#clock = clock
    this.#publisher = publisher
    this.#startedMs = clock.monotonic()
    this.#keys = new MeshKeys(store, clock)
    this.#gateways = new LiveGateways(store)
    this.#sidecars = new LiveSidecars(store)
    this.#publishKeys()
    this.policies = new PolicyRevisions(store, clock, log, publisher.value(pushedKinds.policy))
    this.#publishSidecars()
    this.#publishGateways()
  }

  /** What connected proxies run that this control plane does not know; undefined where there is none. */
  get conflict(): PolicyConflict | undefined {
    const foreign = this.status().filter((proxy) => proxy.connected && this.policies.isForeign(proxy))
    const names = foreign.map(({ name }) => name)
    return names.length === 0 ? undefined : { names, nextRevision: this.policies.next }
  }

  get sidecars(): SidecarEndpoint[] {
    return this.#sidecars.endpoints
  }

  get gateways(): GatewayEndpoint[] {
    return this.#gateways.endpoints
  }

  /** A proxy reported: it is there, whatever the report says and whether or not that can be understood. */
  heard({ spiffeId }: AgentRow, certificateNotAfterMs: number): Proxy {
    const before = this.#proxies.get(spiffeId)
    const now = this.#clock.monotonic()
    const stayed = before !== undefined && now - before.reportedMs <= presentMsMax
    const proxy: Proxy = {
      report: before?.report ?? emptyReport,
      dropped: before?.dropped ?? [],
      reportedMs: now,
      presentSinceMs: stayed ? before.presentSinceMs : now,
      certificateNotAfterMs,
      clockSkewMs: before?.clockSkewMs,
    }
    this.#proxies.set(spiffeId, proxy)
    return proxy
  }

  /** What was understood of a report. */
  takeReport(
    agent: AgentRow,
    certificateNotAfterMs: number,
    report: ReadReport,
    dropped: readonly DroppedPart[] = [],
  ): void {
    const proxy = this.heard(agent, certificateNotAfterMs)
    const before = proxy.report.policyRevision
    proxy.report = report
    proxy.dropped = dropped
    proxy.clockSkewMs = report.nowMs === undefined ? undefined : Math.round(report.nowMs - this.#clock.now())
    this.#traffic.add(report.traffic, this.#clock.now())
    this.policies.reported(agent.spiffeId, report)
    if (before !== undefined && report.policyRevision !== undefined && report.policyRevision > before)
      this.policies.pushes.measure(report.policyRevision, proxy.presentSinceMs)
    if (agent.role === 'sidecar' && report.endpoint !== undefined && this.#sidecars.put(report.endpoint))
      this.#publishSidecars()
    // A list of addresses of which nothing was understood says nothing; it is not an empty list.
    const untold = dropped.some(({ field }) => field === 'advertise' || field === 'report')
    if (agent.role === 'gateway' && !untold && this.#gateways.take(agent, report)) this.#publishGateways()
    // What fails in one keeps no other from hearing of it.
    for (const callback of this.#onReport) contain(nothingEnds, 'a proxy that reported', () => callback(agent.spiffeId))
  }

  /** `callback` is called with each proxy whose report was taken; the result unsubscribes. */
  onReport(callback: (spiffeId: string) => void): () => void {
    this.#onReport.add(callback)
    return () => this.#onReport.delete(callback)
  }

  /** It has said that the revocations of now are in force there. */
  hasRevocations(spiffeId: string): boolean {
    return this.#hasRevocations(this.#proxies.get(spiffeId)?.report ?? emptyReport)
  }

  #hasRevocations({ revocationsDigest }: ReadReport): boolean {
    return revocationsDigest === this.#publisher.value(revocationsAsOf).current.revocationsDigest
  }

  /** Lets go of proxies that fell silent, and makes a new mesh key when one is due; called about once a second. */
  sweep(): void {
    if (this.#keys.rotateIfDue()) this.#publishKeys()
    for (const spiffeId of this.#sidecars.spiffeIds) {
      if (this.#isSilent(spiffeId) && this.#sidecars.remove(spiffeId)) this.#publishSidecars()
    }
    for (const spiffeId of this.#gateways.spiffeIds) {
      if (this.#isSilent(spiffeId) && this.#gateways.remove(spiffeId)) this.#publishGateways()
    }
  }

  /**
   * Forgets a proxy that is gone: it is shown no more, and its certificate is not renewed.
   * @param which its name, or its SPIFFE id where several have the name
   * @throws RingfenceError USAGE when there is no such proxy, several, or it is connected
   */
  removeProxy(which: string): string {
    const found = this.status().filter(({ name, spiffeId }) => name === which || spiffeId === which)
    const [one, ...others] = found
    if (one === undefined) {
      throw new RingfenceError('USAGE', `no proxy is called ${which}`, { hint: 'ringfence status shows their names' })
    }
    if (others.length > 0) {
      throw new RingfenceError('USAGE', `${found.length} proxies are called ${which}`, {
        hint: `give the SPIFFE id: ${found.map(({ spiffeId }) => spiffeId).join(', ')}`,
      })
    }
    if (one.connected) {
      throw new RingfenceError('USAGE', `${one.name} is connected`, { hint: 'stop it first; it is away 15 s later' })
    }
    this.forget(one.spiffeId)
    return one.spiffeId
  }

  /** Who enrolled, whoever it is, is known no more. */
  forget(spiffeId: string): void {
    this.#store.removeAgent(spiffeId)
    this.#proxies.delete(spiffeId)
    if (this.#sidecars.remove(spiffeId)) this.#publishSidecars()
    if (this.#gateways.remove(spiffeId)) this.#publishGateways()
  }

  /** A sidecar that knew the mesh keys is thrown out; keys that were made later stay. */
  burnMeshKeys(atMs: number): void {
    if (this.#keys.burn(atMs)) this.#publishKeys()
  }

  /** Those that are meant stand in no list any more. */
  throwOut(isRevoked: (spiffeId: string) => boolean): void {
    for (const spiffeId of [...this.#proxies.keys()].filter(isRevoked)) this.#proxies.delete(spiffeId)
    for (const spiffeId of this.#sidecars.spiffeIds.filter(isRevoked))
      if (this.#sidecars.remove(spiffeId)) this.#publishSidecars()
    for (const spiffeId of this.#gateways.spiffeIds.filter(isRevoked))
      if (this.#gateways.remove(spiffeId)) this.#publishGateways()
  }

  traffic(windowSeconds: number): TrafficLine[] {
    return this.#traffic.lines(this.#clock.now(), windowSeconds)
  }

  /** Everybody who enrolled as a proxy. */
  status(): ProxyStatus[] {
    const agents = this.#store.agents().filter(({ role }) => role === 'gateway' || role === 'sidecar')
    return agents.map((agent) => this.#statusOf(agent, this.#proxies.get(agent.spiffeId)))
  }

  #statusOf({ spiffeId, name, role }: AgentRow, proxy: Proxy | undefined): ProxyStatus {
    const { report = emptyReport, dropped = [], certificateNotAfterMs, clockSkewMs } = proxy ?? {}
    const silentMs = proxy === undefined ? undefined : this.#clock.monotonic() - proxy.reportedMs
    const connected = silentMs !== undefined && silentMs <= silentMsMax
    return {
      spiffeId,
      name,
      role,
      connected,
      synced: connected && this.policies.isInForce(report),
      policyRevision: report.policyRevision,
      policyDigest: report.policyDigest,
      ...(report.policyEpoch === undefined ? {} : { policyEpoch: report.policyEpoch }),
      ...(connected && report.revocationsDigest !== undefined
        ? { revocationsInForce: this.#hasRevocations(report) }
        : {}),
      ...(connected && report.policyFault !== undefined ? { policyFault: report.policyFault } : {}),
      ...(connected && report.bundleSequence !== undefined
        ? {
            bundleInForce:
              report.bundleSequence === this.#publisher.value(pushedKinds.authorities).current.bundleSequence,
          }
        : {}),
      certificateNotAfterMs,
      connections: report.connections ?? 0,
      sessions: report.sessions ?? 0,
      upstreamConnections: report.upstreamConnections ?? 0,
      lastReportMs: silentMs === undefined ? undefined : this.#clock.now() - silentMs,
      listeners: report.listeners,
      endpoint: report.endpoint,
      draining: connected && report.draining === true,
      nodeAway: connected && report.nodeAway === true,
      recordFailed: connected && report.recordFailed === true,
      ...(connected && report.recordUncollected !== undefined ? { recordUncollected: report.recordUncollected } : {}),
      ...(clockSkewMs === undefined ? {} : { clockSkewMs }),
      advertise: this.#gateways.staying(spiffeId).map(({ address, port }) => ({ address, port })),
      ...(dropped.length === 0 ? {} : { dropped }),
    }
  }

  #isSilent(spiffeId: string): boolean {
    // After our own restart everybody gets the same time to report again.
    const seenMs = this.#proxies.get(spiffeId)?.reportedMs ?? this.#startedMs
    return this.#clock.monotonic() - seenMs > silentMsMax
  }

  #publishGateways(): void {
    this.#publisher.value(pushedKinds.gateways).set(this.gateways)
  }

  #publishSidecars(): void {
    this.#publisher.value(pushedKinds.sidecars).set(this.sidecars)
  }

  #publishKeys(): void {
    this.#publisher.value(pushedKinds.keys).set(this.#keys.keys)
  }
}
