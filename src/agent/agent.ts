/**
 * `agent` is a process's side of the control plane: it enrols, renews, listens for policy and reports.
 *
 * The rule one must not break: what a proxy holds stays good while the control plane is away, and never goes back to an older
 * policy revision.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Clock, systemClock } from '../base/clock.ts'
import { textDigest } from '../base/digest.ts'
import { RingfenceError } from '../base/errors.ts'
import { parseJson } from '../mesh/answer.ts'
import { type Credentials, credentialsOf, makeKey } from '../mesh/credentials.ts'
import type { GatewayEndpoint, SidecarEndpoint } from '../mesh/endpoints.ts'
import { issuedCertificate } from '../mesh/enrolment.ts'
import type { Feed, PolicySnapshot } from '../mesh/feed.ts'
import { type MeshKey, meshKeysFromWire, sameMeshKeys } from '../mesh/mesh-keys.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import type { AgentRole } from '../mesh/roles.ts'
import { aliveIntervalMs, watchEvent, watchLineBytesMax } from '../mesh/watch.ts'
import type { Logger } from '../telemetry/log.ts'
import { ControlClient, enrolWith } from './client.ts'
import { LineReader } from './lines.ts'
import { Listeners } from './listeners.ts'
import { Reporter } from './reporter.ts'
import { AgentState } from './state.ts'

export interface AgentOptions {
  readonly role: AgentRole
  readonly name: string
  readonly stateDir: string
  /** `https://127.0.0.1:8443` */
  readonly controlUrl: string
  /** Needed only while `stateDir` holds no valid identity. */
  readonly joinToken?: string | undefined
  readonly log: Logger
  readonly clock?: Clock
  /** 0 up to 1, for jitter. */
  readonly random?: () => number
}

export interface Agent extends Feed {
  readonly role: AgentRole
  readonly name: string
  /**
   * Says to the control plane that this proxy is about to stop; every later report says so too. Resolves when it was heard, or
   * after two seconds: a control plane that is away holds nobody up.
   */
  leave(): Promise<void>
}

const reportIntervalMs = 1_000
const leaveMsMax = 2_000
/** A proxy that has no policy or no mesh keys on disk waits this long for its first before it starts, permitting nothing. */
const firstPolicyWaitMs = 5_000
/** After a push the proxy's own acknowledgement is looked for this often, so that the control plane sees when it was applied. */
const acknowledgeIntervalMs = 25
const skewMsAdvisedMax = 30_000
/** When a certificate is renewed (mesh.md §2.2): at a random point of this part of its life, and at once from the late point. */
const renewFrom = 0.5
const renewTo = 0.67
const renewLate = 0.9
/** A certificate that was just issued is kept for this part of the life that is left, whatever its dates say. */
const keepFrom = 0.4
const retryMsMin = 200
const retryMsMax = 30_000

/**
 * Enrols, or takes up the identity kept in `stateDir`. Resolves when there are credentials and, for a proxy, a policy: from the
 * control plane, or else the last good one from disk.
 * @throws RingfenceError IDENTITY when there is no valid identity and no token that is accepted; UNAVAILABLE when the control
 * plane is needed and away
 */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { clock = systemClock, random = Math.random } = options
  const state = new AgentState(options.stateDir)
  const credentials = await firstCredentials(options, state, clock)
  const agent = new RunningAgent({ ...options, clock, random }, state, credentials)
  await agent.start()
  return agent
}

async function firstCredentials(options: AgentOptions, state: AgentState, clock: Clock): Promise<Credentials> {
  const { joinToken, log } = options
  const kept = state.readIdentity()
  if (kept !== undefined && clock.now() < kept.notAfterMs) return kept
  if (joinToken === undefined) {
    const why =
      kept === undefined ? 'there is no identity yet' : `the identity ${kept.spiffeId} expired and cannot be renewed`
    throw new RingfenceError('IDENTITY', `${why}, and no join token was given`, {
      hint: 'ringfence token generate --spiffe-id … --role …, then start again with --token',
    })
  }
  const { keyPem, csrPem } = await makeKey()
  const { name, role } = options
  const issued = await enrolWith(options.controlUrl, { token: joinToken, csrPem, name, role }, clock)
  const skewMs = issued.nowMs - clock.now()
  if (Math.abs(skewMs) > skewMsAdvisedMax) log.warn({ skewMs }, 'clock differs from the control plane')
  const credentials = credentialsOf(issued.certificatePem, keyPem, issued.bundlePem)
  state.writeIdentity(credentials)
  log.info({ spiffeId: credentials.spiffeId, notAfterMs: credentials.notAfterMs }, 'enrolled')
  return credentials
}

/** How long to wait from `nowMs` before renewing. The issued life counts, back-date and all. */
export function renewalDelayMs(notBeforeMs: number, notAfterMs: number, nowMs: number, random: () => number): number {
  const lifeMs = notAfterMs - notBeforeMs
  if (nowMs >= notBeforeMs + renewLate * lifeMs) return 0
  const atMs = notBeforeMs + (renewFrom + (renewTo - renewFrom) * random()) * lifeMs
  return Math.max(0, atMs - nowMs)
}

const knownKinds: ReadonlySet<string> = new Set(watchEvent.options.map(({ shape }) => shape.kind.value))

function kindOf(given: unknown): string | undefined {
  return typeof given === 'object' && given !== null && 'kind' in given && typeof given.kind === 'string'
    ? given.kind
    : undefined
}

class RunningAgent implements Agent {
  readonly role: AgentRole
  readonly name: string
  credentials: Credentials
  policy: PolicySnapshot = { revision: 0, source: '' }
  sidecars: readonly SidecarEndpoint[] = []
  gateways: readonly GatewayEndpoint[] = []
  keys: readonly MeshKey[] = []
  readonly #options: Required<Pick<AgentOptions, 'controlUrl' | 'log' | 'clock' | 'random'>>
  readonly #state: AgentState
  readonly #onCredentials: Listeners<Credentials>
  readonly #onPolicy: Listeners<PolicySnapshot>
  readonly #onSidecars: Listeners<readonly SidecarEndpoint[]>
  readonly #onGateways: Listeners<readonly GatewayEndpoint[]>
  readonly #onKeys: Listeners<readonly MeshKey[]>
  readonly #stopped = new AbortController()
  /** Ends the present watch stream, so that the next is opened with the new certificate. */
  #rewatch = new AbortController()
  readonly #firstPolicy = Promise.withResolvers<void>()
  #client: ControlClient
  readonly #reporter: Reporter
  #loops: Promise<void>[] = []

  constructor(
    options: AgentOptions & { clock: Clock; random: () => number },
    state: AgentState,
    credentials: Credentials,
  ) {
    const { controlUrl, log, clock, random } = options
    this.#options = { controlUrl, log, clock, random }
    this.role = options.role
    this.name = options.name
    this.#state = state
    this.credentials = credentials
    this.#onCredentials = new Listeners(log)
    this.#onPolicy = new Listeners(log)
    this.#onSidecars = new Listeners(log)
    this.#onGateways = new Listeners(log)
    this.#onKeys = new Listeners(log)
    this.#client = new ControlClient(controlUrl, credentials, clock)
    this.#reporter = new Reporter(() => this.#client, log, options.clock)
  }

  async start(): Promise<void> {
    this.#loops.push(this.#renewForEver())
    if (this.role !== 'gateway' && this.role !== 'sidecar') return
    const cache = this.#state.readCache()
    if (cache === 'damaged') this.#options.log.error('cached policy is damaged and is not used')
    if (typeof cache === 'object') {
      this.policy = cache.policy
      this.sidecars = cache.sidecars
      this.gateways = cache.gateways
      this.#options.log.info({ revision: cache.policy.revision }, 'starting from the cached policy')
    }
    // They are for sidecars; a gateway that was given them by an older control plane has no need of them.
    if (!this.#needsKeys) this.#state.removeKeys()
    const keys = this.#state.readKeys()
    if (keys === 'damaged') this.#options.log.error('kept mesh keys are damaged and are not used')
    if (Array.isArray(keys)) this.keys = keys
    this.#loops.push(this.#watchForEver(), this.#reportForEver())
    if (this.policy.revision === 0 || (this.#needsKeys && this.keys.length === 0)) {
      await Promise.race([
        this.#firstPolicy.promise,
        sleep(firstPolicyWaitMs, undefined, { signal: this.#stopped.signal }).catch(() => {}),
      ])
    }
  }

  get #needsKeys(): boolean {
    return this.role === 'sidecar'
  }

  onCredentials(callback: (credentials: Credentials) => void): () => void {
    return this.#onCredentials.add(callback)
  }

  onPolicy(callback: (policy: PolicySnapshot) => void): () => void {
    return this.#onPolicy.add(callback)
  }

  onSidecars(callback: (sidecars: readonly SidecarEndpoint[]) => void): () => void {
    return this.#onSidecars.add(callback)
  }

  onGateways(callback: (gateways: readonly GatewayEndpoint[]) => void): () => void {
    return this.#onGateways.add(callback)
  }

  onKeys(callback: (keys: readonly MeshKey[]) => void): () => void {
    return this.#onKeys.add(callback)
  }

  setReporter(make: () => ProxyReport): void {
    this.#reporter.make = make
  }

  async leave(): Promise<void> {
    this.#reporter.draining = true
    try {
      await Promise.race([this.#reporter.report(() => true), this.#pause(leaveMsMax)])
    } catch (reason) {
      this.#options.log.info({ reason: RingfenceError.from(reason, 'UNAVAILABLE').message }, 'leaving unheard')
    }
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    this.#rewatch.abort()
    this.#client.close()
    await Promise.all(this.#loops)
  }

  async #renewForEver(): Promise<void> {
    const { clock, random, log } = this.#options
    let failures = 0
    let renewed = true
    let retryMs: number | undefined
    while (!this.#stopped.signal.aborted) {
      const { notBeforeMs, notAfterMs } = this.credentials
      // Certificates are dated back by a minute. Of a short life that is most, so a new one is kept for a part of what is left at least.
      const keptMs = renewed ? keepFrom * (notAfterMs - clock.now()) : 0
      renewed = false
      await this.#pause(retryMs ?? Math.max(keptMs, renewalDelayMs(notBeforeMs, notAfterMs, clock.now(), random)))
      if (this.#stopped.signal.aborted) return
      try {
        await this.#renew()
        failures = 0
        renewed = true
        retryMs = undefined
      } catch (reason) {
        if (this.#stopped.signal.aborted) return
        const fault = RingfenceError.from(reason, 'UNAVAILABLE')
        // Rate-limited: one random moment of the next window, else everybody's retries meet again (Consul's leafcert/generate.go).
        const windowMs = fault.code === 'OVERLOADED' ? retryMsMax : Math.min(retryMsMax, 1_000 * 2 ** failures)
        // Several times before the certificate ends, for then it cannot be renewed.
        const leftMs = notAfterMs - clock.now()
        retryMs = random() * (leftMs > 0 ? Math.max(retryMsMin, Math.min(windowMs, leftMs / 4)) : windowMs)
        failures++
        const expired = clock.now() > notAfterMs
        const text = expired
          ? 'identity expired; enrol again with a new join token'
          : 'certificate was not renewed, trying again'
        log[expired ? 'error' : 'warn']({ reason: fault.message, notAfterMs }, text)
      }
    }
  }

  async #renew(): Promise<void> {
    const { clock, controlUrl, log } = this.#options
    const { keyPem, csrPem } = await makeKey()
    const issued = await this.#client.post('/v1/renew', { csrPem }, issuedCertificate)
    const credentials = credentialsOf(issued.certificatePem, keyPem, issued.bundlePem)
    if (credentials.spiffeId !== this.credentials.spiffeId) {
      throw new RingfenceError(
        'IDENTITY',
        `control plane renewed ${this.credentials.spiffeId} as ${credentials.spiffeId}`,
      )
    }
    this.#state.writeIdentity(credentials)
    const before = this.#client
    this.credentials = credentials
    this.#client = new ControlClient(controlUrl, credentials, clock)
    this.#rewatch.abort()
    before.close()
    log.info({ spiffeId: credentials.spiffeId, notAfterMs: credentials.notAfterMs }, 'certificate renewed')
    this.#onCredentials.call(credentials)
  }

  async #watchForEver(): Promise<void> {
    const { random, log } = this.#options
    let failures = 0
    while (!this.#stopped.signal.aborted) {
      this.#rewatch = new AbortController()
      try {
        await this.#watchOnce(() => {
          failures = 0
        })
      } catch (reason) {
        if (this.#stopped.signal.aborted) return
        if (this.#rewatch.signal.aborted) continue
        if (failures === 0)
          log.warn({ reason: RingfenceError.from(reason, 'UNAVAILABLE').message }, 'control plane is away')
      }
      if (this.#rewatch.signal.aborted) continue
      // Full jitter above a floor, so that a restarted control plane is not met by everybody at once.
      await this.#pause(100 + random() * Math.min(4_900, 200 * 2 ** failures))
      failures++
    }
  }

  async #watchOnce(alive: () => void): Promise<void> {
    const { log } = this.#options
    const { signal } = this.#rewatch
    const stream = await this.#client.stream('/v1/watch')
    if (signal.aborted) {
      stream.destroy()
      return
    }
    const end = (): void => void stream.destroy()
    signal.addEventListener('abort', end, { once: true })
    stream.setTimeout(3 * aliveIntervalMs, () => stream.destroy(new Error('control plane fell silent')))
    const lines = new LineReader(
      watchLineBytesMax,
      (line) => this.#takeEvent(line),
      () => log.error({ lengthMax: watchLineBytesMax }, 'line of the watch stream is too long and was skipped'),
    )
    try {
      stream.setEncoding('utf8')
      for await (const text of stream) {
        lines.push(String(text))
        alive()
      }
      log.info('watch stream ended')
    } finally {
      signal.removeEventListener('abort', end)
    }
  }

  #takeEvent(line: string): void {
    const given = parseJson(line)
    const parsed = watchEvent.safeParse(given)
    if (!parsed.success) {
      const kind = kindOf(given)
      if (kind === undefined || knownKinds.has(kind)) {
        const where = parsed.error.issues[0]?.path.join('.')
        this.#options.log.error({ kind, where }, 'line of the watch stream is not understood and was skipped')
      }
      return
    }
    const event = parsed.data
    if (event.kind === 'policy') {
      this.#takePolicy(event)
      // Also for revision 0: then there is none to wait for.
      this.#firstPolicy.resolve()
    }
    if (event.kind === 'sidecars') this.#takeSidecars(this.#fitting(event.kind, event.sidecars))
    if (event.kind === 'gateways') this.#takeGateways(this.#fitting(event.kind, event.gateways))
    if (event.kind === 'keys' && this.#needsKeys)
      this.#takeKeys(meshKeysFromWire(this.#fitting(event.kind, event.keys)))
  }

  #fitting<T>(kind: string, { entries, skipped }: { readonly entries: T[]; readonly skipped: number }): T[] {
    if (skipped > 0) this.#options.log.error({ kind, skipped }, 'entries of a list are not understood and were skipped')
    return entries
  }

  #takePolicy({ revision, source }: PolicySnapshot): void {
    const { log } = this.#options
    const inForce = this.policy
    if (revision === inForce.revision && source === inForce.source) return
    if (revision < inForce.revision) {
      log.error({ offered: revision, inForce: inForce.revision }, 'older policy revision refused')
      return
    }
    // Only a control plane that was restored and given a policy since then has another text for the number: that is the later word.
    if (revision === inForce.revision) {
      const digests = { before: textDigest(inForce.source), now: textDigest(source) }
      log.error(
        { revision, ...digests },
        'another policy under the same revision taken; was the control plane restored',
      )
    }
    this.policy = { revision, source }
    this.#onPolicy.call(this.policy)
    this.#keepCache()
    this.#acknowledge(this.policy).catch(() => {})
  }

  #takeSidecars(sidecars: readonly SidecarEndpoint[]): void {
    if (JSON.stringify(sidecars) === JSON.stringify(this.sidecars)) return
    this.sidecars = sidecars
    this.#onSidecars.call(sidecars)
    this.#keepCache()
  }

  #takeGateways(gateways: readonly GatewayEndpoint[]): void {
    if (JSON.stringify(gateways) === JSON.stringify(this.gateways)) return
    this.gateways = gateways
    this.#onGateways.call(gateways)
    this.#keepCache()
  }

  #takeKeys(keys: readonly MeshKey[]): void {
    if (sameMeshKeys(keys, this.keys)) return
    this.keys = keys
    this.#onKeys.call(keys)
    this.#options.log.info({ newest: keys[0]?.id }, 'mesh keys received')
    try {
      this.#state.writeKeys(keys)
    } catch (err) {
      this.#options.log.error({ err }, 'mesh keys could not be kept on disk')
    }
  }

  #keepCache(): void {
    try {
      this.#state.writeCache({ policy: this.policy, sidecars: this.sidecars, gateways: this.gateways })
    } catch (err) {
      this.#options.log.error({ err }, 'policy could not be kept on disk')
    }
  }

  /** Reports as soon as the proxy says that every worker runs `policy`, rather than at the next second. */
  async #acknowledge(policy: PolicySnapshot): Promise<void> {
    const digest = textDigest(policy.source)
    const runs = ({ policyRevision, policyDigest }: ProxyReport): boolean =>
      policyRevision >= policy.revision && (policyDigest === undefined || policyDigest === digest)
    for (let waitedMs = 0; waitedMs < reportIntervalMs; waitedMs += acknowledgeIntervalMs) {
      if (this.#reporter.make === undefined || this.policy !== policy) return
      if (await this.#reporter.report(runs)) return
      await this.#pause(acknowledgeIntervalMs)
      if (this.#stopped.signal.aborted) return
    }
  }

  async #reportForEver(): Promise<void> {
    const { log, random } = this.#options
    await this.#pause(random() * reportIntervalMs)
    let away = false
    while (!this.#stopped.signal.aborted) {
      try {
        await this.#reporter.report(() => true)
        away = false
      } catch (reason) {
        if (!away) log.debug({ reason: RingfenceError.from(reason, 'UNAVAILABLE').message }, 'report was not taken')
        away = true
      }
      await this.#pause(reportIntervalMs)
    }
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stopped.signal }).catch(() => {})
  }
}
