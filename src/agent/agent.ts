/**
 * `agent` is a process's side of the control plane: it enrols, renews, listens for policy and reports.
 *
 * The rule one must not break: what a proxy holds stays good while the control plane is away, and never goes back to an older
 * policy revision. Nobody is served before it is known who is thrown out.
 */
import type { z } from 'zod'
import { type Clock, systemClock } from '../base/clock.ts'
import { nothingEnds, settle } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { noAuthorities } from '../mesh/authorities.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { Feed } from '../mesh/feed.ts'
import type { Observable } from '../mesh/observable.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { allPushedKinds, type PushedKinds, pushedKinds } from '../mesh/pushed.ts'
import type { PushedKind } from '../mesh/pushed-kind.ts'
import { PushedValues } from '../mesh/pushed-values.ts'
import { digestOf, revocationsAsOf } from '../mesh/revocations.ts'
import type { AgentRole } from '../mesh/roles.ts'
import type { Logger } from '../telemetry/log.ts'
import { askForAuthorities, hurryWhereTainted, type Keeper, takeAuthorities } from './authorities.ts'
import { ControlRoots, rootsTogether } from './control-roots.ts'
import { ControlSession } from './control-session.ts'
import { firstCredentials } from './enrolment.ts'
import { Exchange, type TokenSource } from './exchange.ts'
import { IdentityFile } from './identity-file.ts'
import { KeptValues } from './kept-values.ts'
import { byCertificate, byExchange, renewForEver } from './renewal.ts'
import { Reporter } from './reporter.ts'
import type { SvidFrom } from './svid-source.ts'
import { Watch } from './watch.ts'

export interface AgentOptions {
  readonly role: AgentRole
  readonly name: string
  readonly stateDir: string
  /** `https://127.0.0.1:8443` */
  readonly controlUrl: string
  /** Needed only while `stateDir` holds no valid identity. */
  readonly joinToken?: string | undefined
  /** In the place of a join token, and of renewal by the certificate itself. */
  readonly tokenSource?: TokenSource | undefined
  /** A proxy takes its certificate from there, and enrols nowhere. */
  readonly svidFrom?: SvidFrom | undefined
  readonly log: Logger
  readonly clock?: Clock
  /** 0 up to 1, for jitter. */
  readonly random?: () => number
  /** What is pushed to it; `allPushedKinds` by default. */
  readonly kinds?: PushedKinds
}

export interface Agent extends Feed {
  readonly role: AgentRole
  readonly name: string
  /**
   * Says to the control plane that this proxy is about to stop; every later report says so too. Resolves when it was heard, or
   * after two seconds: a control plane that is away holds nobody up.
   */
  leave(): Promise<void>
  /** Asks the control plane for something, as who this process is. @throws RingfenceError UNAVAILABLE, or as the control plane refuses */
  askControl<T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T>
}

type Settings = Required<Pick<AgentOptions, 'clock' | 'random' | 'kinds'>> & AgentOptions

/**
 * A proxy that has no policy or no mesh keys on disk waits this long for its first before it starts, permitting nothing. And so long any proxy waits
 * for a control plane that does not answer, before it takes the revocations that it kept for those in force.
 */
const firstValuesWaitMs = 5_000

/**
 * Enrols, or takes up the identity kept in `stateDir`. Resolves when there are credentials and, for a proxy, a policy: from the
 * control plane, or else the last good one from disk.
 * @throws RingfenceError IDENTITY when there is no valid identity and no token that is accepted; UNAVAILABLE when the control
 * plane is needed and away
 */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const settings: Settings = { clock: systemClock, random: Math.random, kinds: allPushedKinds, ...options }
  const { svidFrom } = settings
  if (svidFrom !== undefined) return startBySvid(settings, svidFrom)
  const file = new IdentityFile(settings.stateDir)
  const { tokenSource } = settings
  const exchange = tokenSource === undefined ? undefined : new Exchange(tokenSource, settings)
  const renew = exchange === undefined ? byCertificate : byExchange(exchange)
  const session = new ControlSession(settings, await firstCredentials(settings, file, exchange))
  const agent = new RunningAgent(settings, session, file, () => renewForEver(session, file, renew))
  await agent.start()
  return agent
}

/** Nothing of the certificate is kept on disk; the roots are, that the control plane told. */
async function startBySvid(settings: Settings, svidFrom: SvidFrom): Promise<Agent> {
  const { role } = settings
  if (role !== 'gateway' && role !== 'sidecar')
    throw new RingfenceError('CONFIG', `only proxies take their certificate from a Workload API, not a ${role}`)
  const roots = new ControlRoots(settings.stateDir)
  // gRPC is loaded where somebody wants it.
  const { SvidSource: Source } = await import('./svid-source.ts')
  const source = new Source({ ...settings, ...svidFrom, role })
  const first = await source.first()
  const kept = roots.read()
  const known = kept === '' ? (svidFrom.controlRootsPem ?? '') : kept
  const session = new ControlSession(settings, { ...first, bundlePem: rootsTogether(known, first.bundlePem) })
  session.startWithRoots(known)
  const keeper = {
    write: () => roots.write(session.rootsTold),
    isBehind: () => !roots.has(session.rootsTold),
  }
  const agent = new RunningAgent(settings, session, keeper, () => source.follow(session))
  await agent.start()
  return agent
}

class RunningAgent implements Agent {
  readonly role: AgentRole
  readonly name: string
  readonly #session: ControlSession
  readonly #identityFile: Keeper
  readonly #values: PushedValues
  readonly #kept: KeptValues
  readonly #watch: Watch
  readonly #reporter: Reporter
  readonly #keepFresh: () => Promise<void>
  #loops: Promise<void>[] = []

  /** @param keepFresh resolves when the session stops */
  constructor(settings: Settings, session: ControlSession, identityFile: Keeper, keepFresh: () => Promise<void>) {
    const { role, name, stateDir, log, kinds } = settings
    this.role = role
    this.name = name
    this.#identityFile = identityFile
    this.#keepFresh = keepFresh
    this.#session = session
    this.#values = new PushedValues(kinds)
    this.#kept = new KeptValues(stateDir, this.#values, role, log)
    this.#watch = new Watch(this.#session, this.#values, role, (kind) => this.#taken(kind))
    this.#reporter = new Reporter(this.#session)
  }

  get credentials(): Observable<Credentials> {
    return this.#session.credentials
  }

  value<T>(kind: PushedKind<T>): Observable<T> {
    return this.#values.value(kind)
  }

  async start(): Promise<void> {
    this.#loops.push(this.#keepFresh())
    if (this.role !== 'gateway' && this.role !== 'sidecar') {
      this.#loops.push(askForAuthorities(this.#session, this.#identityFile))
      return
    }
    this.#kept.read()
    // One that was signed just before a taint may come just after that was told.
    if (this.#knows(pushedKinds.authorities))
      this.credentials.observe(() => hurryWhereTainted(this.#session, this.value(pushedKinds.authorities).current))
    const { revision } = this.value(pushedKinds.policy).current
    if (revision > 0) this.#session.options.log.info({ revision }, 'starting from the cached policy')
    this.#loops.push(this.#watch.run(), this.#reporter.run())
    const { complete, failed } = this.#watch
    const late = this.#session.pause(firstValuesWaitMs)
    await Promise.race(this.#lacksValues() ? [complete, late] : [complete, failed, late])
    if (this.#knowsRevocations()) return
    this.#session.options.log.error('it is not known who is thrown out: waiting for the control plane, serving nobody')
    await complete
  }

  /** They were told once, and what is here is what was told. */
  #knowsRevocations(): boolean {
    // A test may have other kinds.
    if (!this.#knows(revocationsAsOf)) return true
    return this.value(revocationsAsOf).current.revocationsDigest === digestOf((kind) => this.value(kind))
  }

  setReporter(make: () => ProxyReport): void {
    const policy = this.value(pushedKinds.policy)
    const authorities = this.#knows(pushedKinds.authorities) ? this.value(pushedKinds.authorities) : undefined
    this.#reporter.make = () => {
      const { epoch } = policy.current
      const { bundleSequence, bundlePem } = authorities?.current ?? noAuthorities
      // Those of a Workload API stand behind them.
      const isTrusted = bundleSequence !== 0 && this.credentials.current.bundlePem.startsWith(bundlePem)
      return {
        ...make(),
        ...(epoch === undefined ? {} : { policyEpoch: epoch }),
        ...(isTrusted ? { bundleSequence } : {}),
      }
    }
  }

  leave(): Promise<void> {
    return this.#reporter.leave()
  }

  askControl<T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T> {
    return this.#session.client.post(path, body, schema)
  }

  async stop(): Promise<void> {
    this.#session.stop()
    this.#watch.stop()
    await Promise.all(this.#loops)
    await this.#kept.written()
  }

  #lacksValues(): boolean {
    return this.#values.kinds.some((kind) => {
      const value = this.value(kind)
      return kind.awaited && kind.roles.includes(this.role) && value.version === kind.version(kind.empty)
    })
  }

  #knows({ name }: { readonly name: string }): boolean {
    return this.#values.kinds.some((kind) => kind.name === name)
  }

  #taken(kind: PushedKind<unknown>): void {
    const kept = this.#kept.write(kind)
    if (kind.name === pushedKinds.authorities.name)
      takeAuthorities(this.#session, this.#identityFile, this.value(pushedKinds.authorities).current)
    if (kind.name === revocationsAsOf.name) {
      // The parts were ordered before it; they are on disk when it is said.
      settle(nothingEnds, 'revocations that were kept', this.#kept.written(), () =>
        this.#reporter.acknowledgeRevocations(this.value(revocationsAsOf)),
      )
    }
    if (kind.name !== pushedKinds.policy.name) return
    // Who is told that a policy is in force may end this process: it starts with that policy again.
    settle(nothingEnds, 'a policy that was kept', kept, () =>
      this.#reporter.acknowledge(this.value(pushedKinds.policy)),
    )
  }
}
