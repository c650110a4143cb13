/**
 * `sidecar` stands beside one Cassandra node and is the only client that the node accepts. Here policy is enforced, and nowhere
 * else: a request comes in by a driver's own connection or by a mesh link, is judged, recorded, and given to the node.
 *
 *   driver ─▶ Listener ─▶ ClientConnection ┐
 *                                          ├▶ EnforcedSession: request stages ─▶ Dispatch ─▶ UpstreamPool ─▶ node
 *   gateway ─▶ Listener ─▶ LinkServer ─────┘                    ┌ answer stages ◀─ Answers ◀─┘
 *                                                      client ◀─┘
 *
 * The rule one must not break: what reaches the node has a permit of the policy revision in force and a record.
 */

import type { Barrier, Consumer } from '../audit/event.ts'
import { TrafficCount } from '../audit/traffic.ts'
import { Transactions, type TransactionsOptions } from '../audit/transactions.ts'
import { BytesBudget } from '../base/bytes-budget.ts'
import { contain, containOwnFault, nothingEnds, settle } from '../base/contained.ts'
import { limits } from '../base/limits.ts'
import type { AskFirstUse } from '../identity/aws/sts.ts'
import { Outside, type OutsideCalls } from '../identity/outside/outside.ts'
import { type Trust, trustOf } from '../identity/proofs/proof.ts'
import { ProvidersInForce } from '../identity/providers/in-force.ts'
import type { Revocation } from '../identity/revoked/revocation.ts'
import { trustDomainOf } from '../identity/spiffe.ts'
import { linkProtocols } from '../link/protocol.ts'
import { callsOutside } from '../mesh/call-out.ts'
import type { Feed } from '../mesh/feed.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { RevocationsFeed, reportedRevocations } from '../mesh/revocations.ts'
import { warmUpCedar } from '../policy/cedar/sets.ts'
import { PolicyEngine } from '../policy/engine.ts'
import type { Accepted } from '../session/arrivals.ts'
import type { Client, OpenBackend } from '../session/backend.ts'
import { ClientConnection } from '../session/connection.ts'
import { type DoorBounds, Doors, refusing } from '../session/doors.ts'
import { Listener } from '../session/listener.ts'
import type { PlaceBounds } from '../session/places.ts'
import { LogInRefusals } from '../session/refusals.ts'
import { sessionName } from '../session/session-name.ts'
import { watchStalledReaders } from '../session/stalled.ts'
import { type Leaving, staying } from '../session/tainted.ts'
import { throwOut } from '../session/thrown-out.ts'
import { Turn } from '../session/turn.ts'
import type { Logger } from '../telemetry/log.ts'
import { wakeOptimiser } from '../telemetry/optimiser.ts'
import { TrafficTable } from '../telemetry/traffic.ts'
import { Analyst } from './analyst.ts'
import { answerStages } from './answer-stages.ts'
import { TxnTokens } from './behalf/tokens.ts'
import type { SidecarConfig } from './config.ts'
import { enforcementOf } from './enforcement.ts'
import { RateLimits } from './limits/rate-limits.ts'
import { type AskLimitShares, Sharing } from './limits/sharing.ts'
import { linkHostOf } from './link-host.ts'
import type { LinkedOpen } from './link-openings.ts'
import type { LinkHost } from './links.ts'
import { LinkServer } from './links.ts'
import type { NodeMonitor } from './node.ts'
import { type Opening, openSession } from './open-session.ts'
import { PolicyInstall } from './policy-install.ts'
import { type RecordOptions, recordOf, type TransactionRecord } from './record-of.ts'
import { requestStages } from './request-stages.ts'
import { Secrets } from './secrets.ts'
import type { EnforcedSession } from './session.ts'
import type { Shared } from './shared.ts'
import { reachedAt, reportedOf, type ShownSidecar } from './sidecar-report.ts'
import { type Stages, type Ways, waysOf } from './stages/in-order.ts'
import { taintedAuthorities, turnOf } from './turn-of.ts'

const nodeAway = 'the node is away'
const unrecorded = 'the audit record cannot be written'

export interface SidecarOptions extends Pick<TransactionsOptions, 'traces'> {
  /** How AWS STS and a Kubernetes API server are asked; those outside unless said otherwise. */
  readonly outside?: OutsideCalls | undefined
  /** How the mesh is asked who used a pre-signed request first; nobody is asked where it is not given. */
  readonly firstUse?: AskFirstUse | undefined
  /** How the mesh is asked for a part of each rate limit; where it is not given it is an equal part. */
  readonly limitShares?: AskLimitShares | undefined
  readonly config: SidecarConfig
  readonly feed: Feed
  readonly log: Logger
  /** Where the audit goes; relative paths of the configuration were resolved already. */
  readonly auditDirectory: string
  /** Of this process; derived from its memory where it is not given. */
  readonly budget?: BytesBudget
  /** Wall clock by which policy is decided. */
  readonly nowMs?: () => number
  readonly askWitness?: RecordOptions['askWitness']
  readonly collect?: RecordOptions['collect']
  /** More that is to hear of what happens. */
  readonly consumers?: readonly Consumer[]
  /** In the place of the audit's file. */
  readonly barrier?: Barrier
  /** The stages of a request and of its answer, made of those that there are. */
  readonly stages?: (standard: Stages) => Stages
  /** Those of limits.ts unless said otherwise. */
  readonly doorBounds?: DoorBounds | undefined
  readonly linkedBounds?: PlaceBounds | undefined
}

export class Sidecar {
  readonly #options: SidecarOptions
  readonly #log: Logger
  readonly #turn: Turn
  readonly #wallMs = (): number => this.#turn.wallMs()
  readonly #budget: BytesBudget
  readonly #engine = new PolicyEngine()
  readonly #policy: PolicyInstall
  readonly #rateLimits: RateLimits
  readonly #sharing: Sharing | undefined
  readonly #traffic = new TrafficTable()
  readonly #analyst = new Analyst()
  readonly #secrets: Secrets
  readonly #providers: ProvidersInForce
  readonly #txnTokens: TxnTokens
  readonly #revoked: RevocationsFeed
  readonly #record: TransactionRecord
  readonly #shared: Shared
  readonly #ways: Ways
  readonly #node: NodeMonitor
  readonly #listeners: Listener[] = []
  readonly #doors: Doors
  readonly #refusals: LogInRefusals
  readonly #connections = new Set<ClientConnection>()
  readonly #links = new Set<LinkServer>()
  readonly #linkHost: LinkHost
  readonly #openDriver: OpenBackend
  readonly #unsubscribe: (() => void)[] = []
  readonly #stopWatching: () => void
  #stopping = false

  constructor(options: SidecarOptions) {
    const { config, feed, log } = options
    this.#options = options
    const { outside = callsOutside(config.kubernetes), firstUse } = options
    this.#providers = new ProvidersInForce(new Outside({ ...outside, firstUse }))
    this.#txnTokens = new TxnTokens(() => trustDomainOf(feed.credentials.current.spiffeId))
    this.#revoked = new RevocationsFeed(
      (kind) => feed.value(kind),
      (added) => this.#throwOut(added),
    )
    this.#log = log
    this.#turn = new Turn(options.nowMs)
    const nowMicros = (): number => this.#turn.nowMicros()
    this.#rateLimits = new RateLimits(nowMicros)
    const { limitShares } = options
    this.#sharing = limitShares && new Sharing(this.#rateLimits.parts, limitShares, log, nowMicros)
    this.#policy = new PolicyInstall(this.#engine, log, ({ providers, rateLimits }) => {
      this.#providers.setDocuments(providers)
      this.#rateLimits.install(rateLimits)
    })
    this.#budget = options.budget ?? BytesBudget.of(config.waitingBytesMax)
    this.#doors = new Doors(log, options.doorBounds)
    this.#secrets = new Secrets(feed.value(pushedKinds.keys).current)
    this.#record = recordOf({
      config,
      directory: options.auditDirectory,
      askWitness: options.askWitness,
      collect: options.collect,
      credentials: () => feed.credentials.current,
      log,
      revision: () => this.#engine.revision,
    })
    const barrier: Barrier = options.barrier ?? this.#record.barrier
    this.#turn.before(() => barrier.endTurn())
    if (barrier.commit !== undefined) this.#turn.gate(barrier.commit.bind(barrier))
    const transactions = new Transactions({
      barrier,
      consumers: [new TrafficCount(this.#traffic), ...(options.consumers ?? [])],
      traces: options.traces,
      wake: () => this.#turn.wake(),
    })
    this.#refusals = new LogInRefusals(log, Date.now, transactions.refused.bind(transactions))
    const standard = { request: requestStages, answer: answerStages }
    this.#ways = waysOf(options.stages?.(standard) ?? standard)
    const { node, shared } = enforcementOf({
      config,
      credentials: feed.credentials.current,
      log,
      turn: this.#turn,
      nowMs: this.#wallMs,
      engine: this.#engine,
      transactions,
      secrets: this.#secrets,
      txnTokens: this.#txnTokens,
      revocations: this.#revoked.current,
      rateLimits: this.#rateLimits,
      analyst: this.#analyst,
      onNodeChange: () => this.#nodeChanged(),
    })
    this.#node = node
    this.#shared = shared
    this.#linkHost = linkHostOf({
      ...{ log, feed, node, shared, turn: this.#turn, nowMs: this.#wallMs, budget: this.#budget },
      bounds: options.linkedBounds,
      refusals: this.#refusals,
      stopping: () => this.#stopping,
      trust: () => this.#trust,
      session: (client, open) => this.#linkedSession(client, open),
      onClosed: (link) => this.#links.delete(link),
    })
    this.#openDriver = (client, startup, ready, failed) => {
      // A driver that cannot connect here tries another node; one that can, and gets errors, does not.
      if (!this.#node.hello.ready) return refusing(nodeAway)(client, startup, ready, failed)
      if (transactions.blocked) return refusing(unrecorded)(client, startup, ready, failed)
      const name = sessionName()
      const { version, driverName: driver, oneHost, limitAnswers } = startup
      const told = { driver, gateway: undefined, oneHost, limitAnswers }
      const session = this.openSession({ client, name, version, keyspace: '', ...told })
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
  }

  async start(): Promise<void> {
    const { config, feed, log } = this.#options
    warmUpCedar()
    const policy = feed.value(pushedKinds.policy)
    const keySets = feed.value(pushedKinds.keySets)
    this.#providers.setKeySets(keySets.current)
    const txnKeys = feed.value(pushedKinds.txnKeys)
    this.#txnTokens.setKeys(txnKeys.current)
    this.#policy.install(policy.current)
    const sidecars = feed.value(pushedKinds.sidecars)
    const { parts } = this.#rateLimits
    parts.sidecars = sidecars.current.length
    // Before the first await, so that no revision and no certificate is missed.
    const tainted = taintedAuthorities(feed, () => this.#leaving())
    this.#unsubscribe.push(
      () => tainted.stop(),
      policy.observe((now) => this.#policy.install(now)),
      sidecars.observe((now) => (parts.sidecars = now.length)),
      keySets.observe((now) => this.#providers.setKeySets(now)),
      txnKeys.observe((now) => this.#txnTokens.setKeys(now)),
      feed.value(pushedKinds.keys).observe((keys) => this.#secrets.use(keys)),
      feed.credentials.observe((credentials) => {
        for (const listener of this.#listeners) listener.setCredentials(credentials)
        this.#shared.pool.setCredentials(credentials)
        this.#node.setCredentials(credentials)
      }),
    )
    this.#node.start()
    this.#sharing?.start()
    for (const listenerConfig of config.listeners) {
      const listener = new Listener({
        config: listenerConfig,
        credentials: feed.credentials.current,
        trust: () => this.#trust,
        protocols: linkProtocols,
        reusePort: false,
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

  /** The ports that are listened on, in the order of the configuration. */
  get ports(): readonly number[] {
    return this.#listeners.map((listener) => listener.port)
  }

  /** Takes nothing new, lets what is in flight finish, at most `graceMs`. */
  async stop(graceMs: number = limits.drainMsMax): Promise<void> {
    for (const off of this.#unsubscribe) off()
    for (const listener of this.#listeners) listener.stop()
    this.#stopping = true
    this.#policy.stop()
    for (const link of this.#links) link.drain()
    const until = Date.now() + graceMs
    while (this.#connections.size + this.#links.size > 0 && Date.now() < until) {
      // Those too that came in meanwhile: a handshake may have been under way.
      for (const connection of this.#connections) connection.leave('the sidecar stops', graceMs / 2)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    for (const link of this.#links) link.closeSessions('UNAVAILABLE', 'the sidecar stops')
    for (const listener of this.#listeners) listener.destroyAll()
    this.#revoked.stop()
    this.#stopWatching()
    this.#sharing?.stop()
    this.#node.stop()
    this.#shared.pool.stop()
    this.#analyst.stop()
    await new Promise((resolve) => setTimeout(resolve, 50))
    await this.#record.close()
  }

  #accepted(accepted: Accepted): void {
    if (accepted.protocol !== undefined && linkProtocols.includes(accepted.protocol)) {
      try {
        const link = new LinkServer(accepted, this.#linkHost)
        this.#links.add(link)
      } catch (reason) {
        containOwnFault('a mesh link that comes', reason)
        this.#log.warn({ reason: String(reason), peer: accepted.addresses.address }, 'mesh link refused')
        accepted.socket.destroy()
      }
      return
    }
    const connection = new ClientConnection({
      accepted,
      budget: this.#budget,
      turn: this.#turn,
      open: this.#openDriver,
      nowMs: Date.now,
      hostTurn: () => turnOf(this.#options.feed),
      onClosed: (closed, reason) => {
        this.#connections.delete(closed)
        this.#log.debug({ reason, workload: closed.subject }, 'connection closed')
      },
    })
    this.#connections.add(connection)
  }

  #linkedSession(client: Client, open: LinkedOpen): EnforcedSession {
    const { session: name, version, keyspace, driverName: driver, gateway, limitAnswers } = open
    const session = this.openSession({ client, name, version, keyspace, driver, gateway, limitAnswers })
    if (open.events.length > 0) this.#shared.events.add(session, open.events)
    return session
  }

  /** What each door calls for a client whose proof was verified; `open` of the result connects it to the node. Throws where its keyspace may not be used. */
  openSession(opening: Opening): EnforcedSession {
    const session = openSession(this.#shared, this.#ways, this.#wallMs, opening)
    this.#wake()
    return session
  }

  /** What the admin port shows of it. */
  get shown(): ShownSidecar {
    const [connections, links, shared, budget] = [this.#connections, this.#links, this.#shared, this.#budget]
    const [places, record, policy] = [this.#doors.taken, this.#record.figures, this.#policy.report()]
    const [nodeAway, stopping, shipping] = [!this.#node.hello.ready, this.#stopping, this.#record.shipping]
    return { connections, links, shared, budget, places, record, shipping, policy, nodeAway, stopping }
  }

  get #trust(): Trust {
    const { current } = this.#options.feed.credentials
    return trustOf(current, this.#providers.current, this.#revoked.current, this.#txnTokens.ring)
  }

  /** Gateways do so for their clients, and make their own links anew. */
  #leaving(): Leaving[] {
    const linked = [...this.#links].flatMap((link) => [link, ...link.clients()])
    return [...this.#connections, ...linked.map(staying)]
  }

  /** Clients of either door, links of gateways, and those on whose behalf others ask. */
  #throwOut(added: readonly Revocation[]): void {
    this.#shared.judge.endEpoch()
    const linked = [...this.#links].flatMap((link) => [link, ...link.clients()])
    throwOut([...linked, ...this.#connections], added, Date.now())
  }

  /** What only a client needs comes with the first one: a sidecar that waits is to be small. What cannot be loaded keeps out nobody who does not ask for it. */
  #wake(): void {
    wakeOptimiser()
    this.#analyst.start()
    contain(nothingEnds, 'loading what a client needs', () => void this.#shared.schemaAnswers.wake())
  }

  #nodeChanged(): void {
    const { ready } = this.#node.hello
    for (const link of this.#links) {
      link.sendHello()
      if (!ready) link.closeSessions('UPSTREAM', nodeAway)
    }
    if (ready) return
    for (const connection of this.#connections) connection.close(nodeAway)
  }

  #report(): ProxyReport {
    const { config, feed } = this.#options
    const keysWanted = this.#providers.takeWanted()
    return {
      ...(keysWanted.length === 0 ? {} : { keysWanted }),
      ...this.#policy.report(),
      ...reportedRevocations((kind) => feed.value(kind)),
      ...reportedOf(this.shown),
      ...reachedAt(config, feed.credentials.current.spiffeId, this.ports),
      ...this.#refusals.takeRecent(),
      traffic: this.#traffic.drain(),
    }
  }
}
