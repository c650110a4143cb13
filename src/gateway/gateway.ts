/**
 * `gateway` is where clients from outside come in, behind NGINX: it ends their TLS, finds out who they are, hides the nodes behind a
 * virtual topology, and carries each session on a mesh link to a sidecar.
 *
 *   client ─▶ NGINX ─▶ Listener ─▶ ClientConnection ─▶ ClientSession ─▶ UpstreamSession ─▶ GatewayLink ═▶ sidecar of a replica
 *                                                         ├▶ Router (which sidecar?)
 *                                                         └▶ TopologyAnswers (system.local, system.peers)
 *                                                              └▶ GatewayList (all live gateways, events about them)
 *
 * The rule one must not break: the gateway never decides access; a sidecar believes it only what a passport proves.
 */

import { BytesBudget } from '../base/bytes-budget.ts'
import { every, nothingEnds, settle } from '../base/contained.ts'
import { sha256Hex } from '../base/digest.ts'
import { limits } from '../base/limits.ts'
import { KeyRing } from '../identity/jwt/keys.ts'
import { Outside, type OutsideCalls } from '../identity/outside/outside.ts'
import { type Trust, trustOf } from '../identity/proofs/proof.ts'
import { ProvidersInForce } from '../identity/providers/in-force.ts'
import { type Revocation, revokedText } from '../identity/revoked/revocation.ts'
import { callsOutside } from '../mesh/call-out.ts'
import type { SidecarEndpoint } from '../mesh/endpoints.ts'
import type { Feed } from '../mesh/feed.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { type PolicySnapshot, pushedKinds } from '../mesh/pushed.ts'
import { RevocationsFeed, reportedRevocations } from '../mesh/revocations.ts'
import { loadProviders } from '../policy/providers.ts'
import { loadRouting } from '../policy/routing.ts'
import type { Accepted } from '../session/arrivals.ts'
import type { OpenBackend } from '../session/backend.ts'
import { ClientConnection } from '../session/connection.ts'
import { type DoorBounds, Doors } from '../session/doors.ts'
import { Listener } from '../session/listener.ts'
import { LogInRefusals } from '../session/refusals.ts'
import { watchStalledReaders } from '../session/stalled.ts'
import { type Leaving, staying, TaintedAuthorities } from '../session/tainted.ts'
import { throwOut } from '../session/thrown-out.ts'
import { Turn } from '../session/turn.ts'
import type { Logger } from '../telemetry/log.ts'
import { wakeOptimiser } from '../telemetry/optimiser.ts'
import type { Traces } from '../telemetry/traces/traces.ts'
import type { GatewayConfig } from './config.ts'
import { GatewayList } from './gateway-list.ts'
import { HedgeClock } from './hedge-clock.ts'
import { MeshLinks } from './links.ts'
import { Localities } from './locality.ts'
import { Router } from './routing/router.ts'
import { ClientSession } from './session.ts'
import type { SessionServices } from './session-state.ts'
import type { ShownGateway } from './shown.ts'
import { OwnRevocation } from './thrown-out.ts'
import { TopologyAnswers } from './topology-answers.ts'

/** From the events about a gateway that stops to the end of its first connection: drivers act on events after one or two seconds. */
const leaveMs = 4000
/** For the connections of those who were told that the gateway is gone, when all others have ended: so much at least. */
const lastMsMin = 1000

export interface GatewayOptions {
  /** How AWS STS and a Kubernetes API server are asked; those outside unless said otherwise. */
  readonly outside?: OutsideCalls | undefined
  readonly config: GatewayConfig
  readonly feed: Feed
  readonly log: Logger
  /** Of this process; derived from its memory where it is not given. */
  readonly budget?: BytesBudget
  /** Which requests are traced; none where it is not given. */
  readonly traces?: Traces | undefined
  /** Those of limits.ts unless said otherwise. */
  readonly doorBounds?: DoorBounds | undefined
}

const idleSweepMs = 60_000

export class Gateway {
  readonly #options: GatewayOptions
  readonly #turn = new Turn()
  readonly #budget: BytesBudget
  readonly #links: MeshLinks
  readonly #router: Router
  readonly #hedgeClock = new HedgeClock(() => performance.now())
  readonly #gateways: GatewayList
  readonly #providers: ProvidersInForce
  readonly #revoked: RevocationsFeed
  readonly #own: OwnRevocation
  /** Of transaction tokens. */
  #txnKeys = KeyRing.none
  readonly #listeners: Listener[] = []
  readonly #doors: Doors
  readonly #refusals: LogInRefusals
  readonly #connections = new Set<ClientConnection>()
  readonly #sessions = new Set<ClientSession>()
  readonly #open: OpenBackend
  readonly #unsubscribe: (() => void)[] = []
  readonly #stopWatching: () => void
  readonly #idleSweep: NodeJS.Timeout
  /** It has had a sidecar to send requests to: from then on drivers may be sent here. */
  #serves = false
  /** Log-ins, since the start. */
  #refused = 0
  #stopping = false
  /** Of the text whose rules are in force; undefined before the first. */
  #policyDigest: string | undefined

  constructor(options: GatewayOptions) {
    this.#options = options
    this.#providers = new ProvidersInForce(new Outside(options.outside ?? callsOutside(options.config.kubernetes)))
    const { config, feed, log } = options
    this.#revoked = new RevocationsFeed(
      (kind) => feed.value(kind),
      (added) => this.#throwOut(added),
    )
    this.#own = new OwnRevocation(feed.credentials, this.#revoked.current)
    this.#budget = options.budget ?? BytesBudget.of(config.waitingBytesMax)
    this.#doors = new Doors(log, options.doorBounds)
    this.#refusals = new LogInRefusals(log, Date.now, () => {
      this.#refused++
      return true
    })
    this.#links = new MeshLinks({
      turn: this.#turn,
      log,
      credentials: feed.credentials.current,
      locality: config.locality,
      revocations: this.#revoked.current,
    })
    const { spiffeId } = feed.credentials.current
    this.#gateways = new GatewayList(config.advertise, spiffeId, new Localities(config.locality))
    const nowMicros = (): number => this.#turn.nowMicros()
    this.#router = new Router({ links: this.#links, nowMicros })
    const services: SessionServices = {
      links: this.#links,
      topology: new TopologyAnswers(this.#links, this.#gateways),
      router: this.#router,
      hedgeClock: this.#hedgeClock,
      nowMicros,
      traces: options.traces,
    }
    this.#open = (client, startup, ready, failed) => {
      wakeOptimiser()
      const session = new ClientSession(client, startup, services, (closed) => this.#sessions.delete(closed))
      this.#sessions.add(session)
      settle(
        { onFault: () => client.close('a fault of our own') },
        'a session that opens',
        session.open(),
        ready,
        failed,
      )
      return session
    }
    this.#stopWatching = watchStalledReaders(this.#connections)
    this.#idleSweep = every(nothingEnds, 'the sweep of sessions', idleSweepMs, () => {
      for (const session of this.#sessions) session.giveUpIdle()
    })
    this.#idleSweep.unref()
  }

  async start(): Promise<void> {
    const { config, feed, log } = this.#options
    const [sidecars, gateways] = [feed.value(pushedKinds.sidecars), feed.value(pushedKinds.gateways)]
    const [policy, keySets] = [feed.value(pushedKinds.policy), feed.value(pushedKinds.keySets)]
    const txnKeys = feed.value(pushedKinds.txnKeys)
    this.#txnKeys = new KeyRing(txnKeys.current)
    this.#setSidecars(sidecars.current)
    this.#gateways.setGateways(gateways.current)
    this.#providers.setKeySets(keySets.current)
    this.#install(policy.current)
    const tainted = new TaintedAuthorities(
      feed.value(pushedKinds.authorities),
      feed.credentials.current.bundlePem,
      () => this.#leaving(),
      () => this.#gateways.turnOf(),
    )
    this.#unsubscribe.push(
      () => tainted.stop(),
      policy.observe((now) => this.#install(now)),
      keySets.observe((now) => this.#providers.setKeySets(now)),
      txnKeys.observe((now) => {
        this.#txnKeys = new KeyRing(now)
      }),
      sidecars.observe((now) => this.#setSidecars(now)),
      gateways.observe((now) => this.#gateways.setGateways(now)),
      feed.credentials.observe((credentials) => {
        for (const listener of this.#listeners) listener.setCredentials(credentials)
        this.#links.setCredentials(credentials)
      }),
    )
    for (const listenerConfig of config.listeners) {
      const listener = new Listener({
        config: listenerConfig,
        credentials: feed.credentials.current,
        trust: () => this.#trust,
        protocols: [],
        reusePort: true,
        doors: this.#doors,
        refusals: this.#refusals,
        log,
        nowMs: Date.now,
        onAccepted: (accepted) => this.#accepted(accepted),
      })
      await listener.start()
      this.#listeners.push(listener)
      log.info({ address: listenerConfig.address, port: listener.port, tls: listenerConfig.tls }, 'listening')
    }
    feed.setReporter(() => this.#report())
  }

  get #trust(): Trust {
    const { current } = this.#options.feed.credentials
    return trustOf(current, this.#providers.current, this.#revoked.current, this.#txnKeys)
  }

  /**
   * Takes nothing new, sends drivers to the other gateways where there are any, then lets what is in flight finish, at most `graceMs` in all.
   * Who registered for events about hosts is told that this gateway is gone when all other connections have ended, for a driver may then drop what it
   * has in flight here.
   */
  async stop(graceMs: number = limits.drainMsMax): Promise<void> {
    const endMs = performance.now() + graceMs
    this.#stopping = true
    for (const listener of this.#listeners) listener.stop()
    const leaves = this.#gateways.leave()
    if (leaves) await this.#emptied(Math.min(leaveMs, graceMs))
    for (const off of this.#unsubscribe) off()
    await this.#left(endMs - performance.now(), (connection) => leaves && this.#gateways.isRegistered(connection))
    this.#gateways.left()
    // Each of them hears it, some turns later where there are thousands.
    const lastMs = Math.max(Math.min(lastMsMin, graceMs), endMs - performance.now())
    const untilMs = performance.now() + lastMs
    while (this.#gateways.isTelling && performance.now() < untilMs)
      await new Promise((resolve) => setTimeout(resolve, 5))
    if (leaves) await this.#left(lastMs, () => false)
    for (const listener of this.#listeners) listener.destroyAll()
    this.#revoked.stop()
    this.#stopWatching()
    clearInterval(this.#idleSweep)
    this.#hedgeClock.stop()
    this.#links.stop()
  }

  /** Ends all connections but those that are `kept`. Resolves when they have ended, or after `msMax`. */
  async #left(msMax: number, kept: (connection: ClientConnection) => boolean): Promise<void> {
    const until = performance.now() + msMax
    for (;;) {
      const rest = [...this.#connections].filter((connection) => !kept(connection))
      if (rest.length === 0 || performance.now() >= until) return
      // Those too that came in meanwhile: a handshake may have been under way.
      for (const connection of rest) connection.leave('the gateway stops', msMax / 2)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  #install({ revision, source }: PolicySnapshot): void {
    this.#router.setRules(loadRouting(source))
    this.#providers.setDocuments(loadProviders(source))
    this.#policyDigest = revision === 0 ? undefined : sha256Hex(source)
  }

  #setSidecars(sidecars: readonly SidecarEndpoint[]): void {
    for (const sidecar of sidecars) this.#gateways.localities.announced(sidecar.spiffeId, sidecar)
    this.#links.setEndpoints(sidecars)
  }

  /** Clients, and links to sidecars. */
  *#leaving(): Iterable<Leaving> {
    yield* this.#connections
    for (const link of this.#links.all) yield { ...staying(link), leave: () => this.#links.replace(link) }
  }

  /** Clients, and sidecars; where this gateway itself is meant, all clients are to go to another one. */
  #throwOut(added: readonly Revocation[]): void {
    throwOut([...this.#links.all, ...this.#connections], added, Date.now())
    const by = this.#own.among(added)
    if (by === undefined) return
    const reason = `this gateway is thrown out: ${revokedText(by.id)}`
    this.#options.log.error({ revocation: by.id, connections: this.#connections.size }, 'this gateway is thrown out')
    for (const connection of this.#connections) connection.drainFor(reason, limits.thrownOutMsMax)
  }

  /** Resolves when no client is left, or after `ms`. */
  async #emptied(ms: number): Promise<void> {
    const until = Date.now() + ms
    while (this.#connections.size > 0 && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 20))
  }

  #accepted(accepted: Accepted): void {
    if (this.#own.current !== undefined) {
      accepted.reset()
      return
    }
    const connection = new ClientConnection({
      accepted,
      budget: this.#budget,
      turn: this.#turn,
      open: this.#open,
      nowMs: Date.now,
      hostTurn: ({ dialledAddress, dialledPort }) => this.#gateways.turnOf(dialledAddress, dialledPort),
      onClosed: (closed, reason) => {
        this.#connections.delete(closed)
        this.#options.log.debug({ reason, workload: closed.subject }, 'connection closed')
      },
    })
    this.#connections.add(connection)
  }

  /** What the admin port shows of it. */
  get shown(): ShownGateway {
    return {
      connections: this.#connections,
      sessionsOpen: this.#sessions.size,
      places: this.#doors.taken,
      links: this.#links,
      budget: this.#budget,
      policyRevision: this.#options.feed.value(pushedKinds.policy).current.revision,
      refused: this.#refused,
      stopping: this.#stopping,
      traces: this.#options.traces,
    }
  }

  #report(): ProxyReport {
    const { advertise, locality } = this.#options.config
    this.#serves ||= this.#links.choose() !== undefined
    const keysWanted = this.#providers.takeWanted()
    return {
      ...(keysWanted.length === 0 ? {} : { keysWanted }),
      ...(this.#serves ? { advertise, ...locality } : {}),
      policyRevision: this.#options.feed.value(pushedKinds.policy).current.revision,
      policyDigest: this.#policyDigest,
      ...reportedRevocations((kind) => this.#options.feed.value(kind)),
      connections: this.#connections.size,
      sessions: this.#sessions.size,
      upstreamConnections: this.#links.usable.length,
      listeners: this.#options.config.listeners.map(({ address, port = 0, tls, proxyProtocol }) => ({
        address,
        port,
        tls,
        proxyProtocol: proxyProtocol !== undefined,
      })),
      ...this.#refusals.takeRecent(),
      traffic: [],
    }
  }
}
