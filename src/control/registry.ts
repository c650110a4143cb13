/**
 * Which proxies live, what each runs, and who is told when policy, the mesh keys or the set of proxies change. In memory; only where
 * sidecars and gateways are is kept in the store too, so that a restarted control plane does not tell the gateways that there are none.
 */

import type { Clock } from '../base/clock.ts'
import { textDigest } from '../base/digest.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { AdvertisedAddress, GatewayEndpoint, SidecarEndpoint } from '../mesh/endpoints.ts'
import type { ReportedListener } from '../mesh/proxy-report.ts'
import { type PolicySnapshot, pushedKinds } from '../mesh/pushed.ts'
import type { DroppedPart, ReadReport } from '../mesh/report.ts'
import type { AgentRole } from '../mesh/roles.ts'
import type { Logger } from '../telemetry/log.ts'
import { LiveGateways } from './live-gateways.ts'
import { MeshKeys } from './mesh-keys.ts'
import { Publisher } from './publisher.ts'
import type { AgentRow, Store } from './store.ts'
import { type TrafficLine, TrafficWindow } from './traffic.ts'

/** A proxy that has not reported for this long is shown as away, and leaves the list that gateways are told. */
const silentMsMax = 15_000
/** Reports come each second; one that comes after a longer pause is of a proxy that was away. */
const presentMsMax = 3_000
/** How long after a commit its push latency is still watched. */
const pushSamplesMax = 10_000

export interface ProxyStatus {
  readonly spiffeId: string
  readonly name: string
  readonly role: AgentRole
  readonly connected: boolean
  readonly synced: boolean
  readonly policyRevision: number | undefined
  /** SHA-256 of the policy's text that it says is in force. */
  readonly policyDigest?: string | undefined
  readonly certificateNotAfterMs: number | undefined
  readonly connections: number
  readonly sessions: number
  readonly upstreamConnections: number
  readonly lastReportMs: number | undefined
  readonly listeners: readonly ReportedListener[]
  readonly endpoint: SidecarEndpoint | undefined
  /** It said that it is about to stop. */
  readonly draining: boolean
  /** What drivers at every gateway are told of it; nothing of a sidecar, nor of a gateway that is away, leaves or cannot serve yet. */
  readonly advertise: readonly AdvertisedAddress[]
  /** How far its clock is ahead of ours, negative when it is behind; only as good as the way of a report is short. */
  readonly clockSkewMs?: number | undefined
  /** Of a sidecar: its node does not answer; its record cannot be written. */
  readonly nodeAway: boolean
  readonly recordFailed: boolean
  /** Parts of its last report that were not understood. */
  readonly dropped?: readonly DroppedPart[]
}

/** Proxies run a policy that this control plane does not know. */
export interface PolicyConflict {
  /** Of the proxies. */
  readonly names: readonly string[]
  /** What the next policy that is applied will be. */
  readonly nextRevision: number
}

/** A report cannot use up the numbers that there are. */
const revisionMax = 2 ** 48

const emptyReport: ReadReport = { listeners: [], traffic: [] }

export interface PushLatency {
  /** Proxies × revisions that were measured. */
  readonly count: number
  readonly p99Ms: number
  readonly maxMs: number
}

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
  readonly #clock: Clock
  readonly #store: Store
  readonly #log: Pick<Logger, 'error'>
  readonly #publisher: Publisher
  readonly #keys: MeshKeys
  readonly #gateways: LiveGateways
  readonly #startedMs: number
  readonly #proxies = new Map<string, Proxy>()
  readonly #traffic = new TrafficWindow()
  /** Commit times by revision, on the monotonic clock. */
  readonly #committed = new Map<number, number>()
  readonly #pushMs: number[] = []
  #policy: PolicySnapshot
  #policyDigest: string
  /** Highest revision that any proxy has reported since the start; greater than ours after a restore. */
  #revisionReported = 0
  /** What proxies reported that this control plane did not give them was said in the log. */
  #conflictSaid = false
  #sidecars: Map<string, SidecarEndpoint>

  constructor(
    store: Store,
    clock: Clock,
    log: Pick<Logger, 'error'> = { error: () => {} },
    publisher: Publisher = new Publisher(log),
  ) {
    this.#log = log
    this.#publisher = publisher
    this.#store = store
    this.#clock = clock
    this.#keys = new MeshKeys(store, clock)
    this.#gateways = new LiveGateways(store)
    this.#startedMs = clock.monotonic()
    this.#policy = store.policy()
    this.#policyDigest = textDigest(this.#policy.source)
    this.#sidecars = new Map(store.sidecars().map((endpoint) => [endpoint.spiffeId, endpoint]))
    this.#publishKeys()
    publisher.value(pushedKinds.policy).set(this.#policy)
    this.#publishSidecars()
    this.#publishGateways()
  }

  get policy(): PolicySnapshot {
    return this.#policy
  }

  get policyDigest(): string {
    return this.#policyDigest
  }

  /**
   * What connected proxies run that this control plane, which was restored, does not know: a later revision, or another text under the
   * present one. Undefined where there is none.
   */
  get conflict(): PolicyConflict | undefined {
    const foreign = this.status().filter(
      ({ connected, policyRevision = 0, policyDigest }) => connected && this.#isForeign(policyRevision, policyDigest),
    )
    const names = foreign.map(({ name }) => name)
    return names.length === 0 ? undefined : { names, nextRevision: this.#nextRevision() }
  }

  get sidecars(): SidecarEndpoint[] {
    return [...this.#sidecars.values()]
  }

  get gateways(): GatewayEndpoint[] {
    return this.#gateways.endpoints
  }

  /** Commits and tells everybody. The caller has validated it. @throws RingfenceError TOO_LARGE */
  applyPolicy(source: string, fileName: string): PolicySnapshot {
    checkPolicyBytes(source)
    // Above whatever a proxy runs, also one that this control plane forgot, so that none refuses it.
    this.#policy = this.#store.addPolicy(source, fileName, this.#clock.now(), this.#nextRevision())
    this.#policyDigest = textDigest(source)
    this.#conflictSaid = false
    this.#committed.set(this.#policy.revision, this.#clock.monotonic())
    this.#publisher.value(pushedKinds.policy).set(this.#policy)
    return this.#policy
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
    this.#noticePolicy(agent, report)
    if (before !== undefined && report.policyRevision !== undefined && report.policyRevision > before)
      this.#measurePush(report.policyRevision, proxy.presentSinceMs)
    if (agent.role === 'sidecar' && report.endpoint !== undefined) this.#putSidecar(report.endpoint)
    // A list of addresses of which nothing was understood says nothing; it is not an empty list.
    const untold = dropped.some(({ field }) => field === 'advertise' || field === 'report')
    if (agent.role === 'gateway' && !untold && this.#gateways.take(agent, report)) this.#publishGateways()
  }

  /** Lets go of proxies that fell silent, and makes a new mesh key when one is due; called about once a second. */
  sweep(): void {
    if (this.#keys.rotateIfDue()) this.#publishKeys()
    for (const spiffeId of [...this.#sidecars.keys()]) {
      if (!this.#isSilent(spiffeId)) continue
      this.#sidecars.delete(spiffeId)
      this.#store.removeSidecar(spiffeId)
      this.#publishSidecars()
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
    this.#store.removeAgent(one.spiffeId)
    this.#proxies.delete(one.spiffeId)
    if (this.#sidecars.delete(one.spiffeId)) {
      this.#store.removeSidecar(one.spiffeId)
      this.#publishSidecars()
    }
    if (this.#gateways.remove(one.spiffeId)) this.#publishGateways()
    return one.spiffeId
  }

  traffic(windowSeconds: number): TrafficLine[] {
    return this.#traffic.lines(this.#clock.now(), windowSeconds)
  }

  /** Everybody who enrolled as a proxy. */
  status(): ProxyStatus[] {
    const now = this.#clock.monotonic()
    return this.#store
      .agents()
      .filter(({ role }) => role === 'gateway' || role === 'sidecar')
      .map(({ spiffeId, name, role }) => {
        const proxy = this.#proxies.get(spiffeId)
        const connected = proxy !== undefined && now - proxy.reportedMs <= silentMsMax
        return {
          spiffeId,
          name,
          role,
          connected,
          synced: connected && this.#isInForce(proxy.report),
          policyRevision: proxy?.report.policyRevision,
          policyDigest: proxy?.report.policyDigest,
          certificateNotAfterMs: proxy?.certificateNotAfterMs,
          connections: proxy?.report.connections ?? 0,
          sessions: proxy?.report.sessions ?? 0,
          upstreamConnections: proxy?.report.upstreamConnections ?? 0,
          lastReportMs: proxy === undefined ? undefined : this.#clock.now() - (now - proxy.reportedMs),
          listeners: proxy?.report.listeners ?? [],
          endpoint: proxy?.report.endpoint,
          draining: connected && proxy.report.draining === true,
          nodeAway: connected && proxy.report.nodeAway === true,
          recordFailed: connected && proxy.report.recordFailed === true,
          ...(proxy?.clockSkewMs === undefined ? {} : { clockSkewMs: proxy.clockSkewMs }),
          advertise: this.#gateways.staying(spiffeId).map(({ address, port }) => ({ address, port })),
          ...(proxy === undefined || proxy.dropped.length === 0 ? {} : { dropped: proxy.dropped }),
        }
      })
  }

  pushLatency(): PushLatency | undefined {
    const sorted = [...this.#pushMs].sort((a, b) => a - b)
    const max = sorted.at(-1)
    if (max === undefined) return undefined
    return { count: sorted.length, p99Ms: sorted[Math.ceil(sorted.length * 0.99) - 1] ?? max, maxMs: max }
  }

  #nextRevision(): number {
    return Math.max(this.#policy.revision, this.#revisionReported) + 1
  }

  #isInForce({ policyRevision, policyDigest }: ReadReport): boolean {
    // A proxy of before digests were reported is taken at its number.
    return policyRevision === this.#policy.revision && (policyDigest ?? this.#policyDigest) === this.#policyDigest
  }

  #noticePolicy({ spiffeId }: AgentRow, { policyRevision = 0, policyDigest }: ReadReport): void {
    if (policyRevision <= revisionMax) this.#revisionReported = Math.max(this.#revisionReported, policyRevision)
    if (this.#conflictSaid || !this.#isForeign(policyRevision, policyDigest)) return
    this.#conflictSaid = true
    this.#log.error(
      {
        spiffeId,
        reported: policyRevision,
        policyDigest,
        revision: this.#policy.revision,
        nextRevision: this.#nextRevision(),
      },
      'a proxy runs a policy that this control plane does not know: was its state restored; apply the policy again',
    )
  }

  #isForeign(revision: number, digest: string | undefined): boolean {
    if (revision > this.#policy.revision) return true
    if (digest === undefined || revision === 0) return false
    const known = this.#store.policyOf(revision)
    return known === undefined || textDigest(known) !== digest
  }

  #putSidecar(endpoint: SidecarEndpoint): void {
    const before = this.#sidecars.get(endpoint.spiffeId)
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(endpoint)) return
    this.#sidecars.set(endpoint.spiffeId, endpoint)
    this.#store.putSidecar(endpoint)
    this.#publishSidecars()
  }

  #measurePush(revision: number, presentSinceMs: number): void {
    const committedMs = this.#committed.get(revision)
    // Only the revision in force counts, and who was there when it was committed: to come late is not to be slow.
    if (committedMs === undefined || committedMs < presentSinceMs || revision !== this.#policy.revision) return
    this.#pushMs.push(this.#clock.monotonic() - committedMs)
    if (this.#pushMs.length > pushSamplesMax) this.#pushMs.shift()
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

/** What is longer does not fit a line of the watch stream. @throws RingfenceError TOO_LARGE */
export function checkPolicyBytes(source: string): void {
  if (Buffer.byteLength(source) <= limits.policyBytesMax) return
  throw new RingfenceError('TOO_LARGE', `policy is longer than policyBytesMax (${limits.policyBytesMax} bytes)`)
}
