/**
 * One process per core below one agent: the supervisor holds the agent, forks the workers, restarts those that die and passes
 * on whatever the agent learns; a worker sees it as a `Feed` like any other. Messages go over Node's IPC channel, never over a
 * file, so that keys stay in memory.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { RingfenceError } from '../base/errors.ts'
import type { Credentials } from '../mesh/credentials.ts'
import { credentialsOf } from '../mesh/credentials.ts'
import type { GatewayEndpoint, SidecarEndpoint } from '../mesh/endpoints.ts'
import type { Feed, PolicySnapshot } from '../mesh/feed.ts'
import type { MeshKey, WireMeshKey } from '../mesh/mesh-keys.ts'
import { meshKeysFromWire, meshKeysToWire } from '../mesh/mesh-keys.ts'
import type { ProxyReport, ReportedListener } from '../mesh/proxy-report.ts'
import { mergeTraffic } from '../mesh/traffic.ts'
import { createLogger, type Logger } from '../telemetry/log.ts'
import { Listeners } from './listeners.ts'

export interface WorkersOptions {
  readonly count: number
  readonly feed: Feed
  /** The module that calls `connectWorker`. */
  readonly script: string | URL
  readonly args?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  readonly log: Logger
}

export interface Workers {
  /** Of the workers that live now. */
  readonly pids: readonly number[]
  /** Resolves when every worker has sent its first report, rejects when one dies before. */
  readonly ready: Promise<void>
  /** Asks the workers to end (SIGTERM), kills those that have not after `graceMs`. */
  stop(): Promise<void>
}

const restartDelayMsMin = 100
const restartDelayMsMax = 5_000
/** A worker that lived this long died of something new; its next restart is quick again. */
const healthyMs = 10_000
const graceMs = 35_000
const reportIntervalMs = 250

/** Keys as PEM, since only plain data crosses. */
interface WireCredentials {
  readonly certificatePem: string
  readonly keyPem: string
  readonly bundlePem: string
}

interface Start {
  readonly credentials: WireCredentials
  readonly policy: PolicySnapshot
  readonly sidecars: readonly SidecarEndpoint[]
  readonly gateways: readonly GatewayEndpoint[]
  readonly keys: readonly WireMeshKey[]
}

type ToWorker =
  | ({ kind: 'start' } & Start)
  | { kind: 'credentials'; credentials: WireCredentials }
  | { kind: 'policy'; policy: PolicySnapshot }
  | { kind: 'sidecars'; sidecars: readonly SidecarEndpoint[] }
  | { kind: 'gateways'; gateways: readonly GatewayEndpoint[] }
  | { kind: 'keys'; keys: readonly WireMeshKey[] }
type FromWorker = { kind: 'connected' } | { kind: 'report'; report: ProxyReport }

interface Worker {
  readonly index: number
  process: ChildProcess | undefined
  report: ProxyReport | undefined
  startedMs: number
  failures: number
  restart: NodeJS.Timeout | undefined
}

/** Starts `count` workers and becomes the reporter of `feed`. */
export function superviseWorkers(options: WorkersOptions): Workers {
  return new Supervisor(options)
}

class Supervisor implements Workers {
  readonly ready: Promise<void>
  readonly #options: WorkersOptions
  readonly #workers: Worker[]
  readonly #unsubscribe: (() => void)[]
  readonly #ready = Promise.withResolvers<void>()
  /** Rows of workers since the last report of ours; kept across a worker's death. */
  #traffic: ProxyReport['traffic'] = []
  #stopping = false

  constructor(options: WorkersOptions) {
    const { feed, count } = options
    this.#options = options
    this.ready = this.#ready.promise
    this.ready.catch(() => {})
    this.#workers = Array.from({ length: count }, (_, index) => ({
      index,
      process: undefined,
      report: undefined,
      startedMs: 0,
      failures: 0,
      restart: undefined,
    }))
    this.#unsubscribe = [
      feed.onCredentials((credentials) => this.#tellAll({ kind: 'credentials', credentials: wireOf(credentials) })),
      feed.onPolicy((policy) => this.#tellAll({ kind: 'policy', policy })),
      feed.onSidecars((sidecars) => this.#tellAll({ kind: 'sidecars', sidecars })),
      feed.onGateways((gateways) => this.#tellAll({ kind: 'gateways', gateways })),
      feed.onKeys((keys) => this.#tellAll({ kind: 'keys', keys: meshKeysToWire(keys) })),
    ]
    feed.setReporter(() => this.#report())
    for (const worker of this.#workers) this.#start(worker)
  }

  get pids(): number[] {
    return this.#workers.flatMap(({ process: child }) => (child?.pid === undefined ? [] : [child.pid]))
  }

  async stop(): Promise<void> {
    this.#stopping = true
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    await Promise.all(this.#workers.map((worker) => this.#end(worker)))
  }

  #start(worker: Worker): void {
    const { script, args = [], env, log } = this.#options
    const child = fork(script, args, {
      env: { ...process.env, ...env, RINGFENCE_WORKER: String(worker.index) },
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    worker.process = child
    worker.report = undefined
    worker.startedMs = performance.now()
    child.on('message', (message) => this.#take(worker, child, message as FromWorker))
    child.on('error', (err) => log.error({ err, worker: worker.index }, 'worker could not be started or told'))
    child.on('exit', (code, signal) => this.#exited(worker, code, signal))
  }

  #take(worker: Worker, child: ChildProcess, message: FromWorker): void {
    const { feed } = this.#options
    if (message.kind === 'connected') {
      const { policy, sidecars, gateways } = feed
      const keys = meshKeysToWire(feed.keys)
      send(child, { kind: 'start', credentials: wireOf(feed.credentials), policy, sidecars, gateways, keys })
      return
    }
    worker.report = message.report
    this.#traffic = mergeTraffic(this.#traffic, message.report.traffic)
    if (this.#workers.every(({ report }) => report !== undefined)) this.#ready.resolve()
  }

  #exited(worker: Worker, code: number | null, signal: NodeJS.Signals | null): void {
    const { log } = this.#options
    worker.process = undefined
    worker.report = undefined
    if (this.#stopping) return
    if (performance.now() - worker.startedMs > healthyMs) worker.failures = 0
    const delayMs = Math.min(restartDelayMsMax, restartDelayMsMin * 2 ** worker.failures++)
    log.error({ worker: worker.index, code, signal, delayMs }, 'worker ended, starting another')
    this.#ready.reject(new RingfenceError('UNAVAILABLE', 'a worker ended before it was ready; its log says why'))
    worker.restart = setTimeout(() => this.#start(worker), delayMs)
  }

  async #end(worker: Worker): Promise<void> {
    clearTimeout(worker.restart)
    const child = worker.process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill('SIGTERM')
    const killer = setTimeout(() => child.kill('SIGKILL'), graceMs)
    await gone
    clearTimeout(killer)
  }

  #tellAll(message: ToWorker): void {
    for (const { process: child } of this.#workers) if (child?.connected) send(child, message)
  }

  #report(): ProxyReport {
    const traffic = this.#traffic
    this.#traffic = []
    const reports = this.#workers.map(({ report }) => report)
    const present = reports.filter((report) => report !== undefined)
    const endpoint = present.find((report) => report.endpoint !== undefined)?.endpoint
    // Workers share their configuration, so each that can serve says the same.
    const serving = present.find(({ advertise = [] }) => advertise.length > 0)
    return {
      // A worker that has not reported runs nothing yet; it does not hold back what the others have applied.
      policyRevision: present.length === 0 ? 0 : Math.min(...present.map((report) => report.policyRevision)),
      ...digestOf(present),
      connections: sum(present, 'connections'),
      sessions: sum(present, 'sessions'),
      upstreamConnections: sum(present, 'upstreamConnections'),
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(serving === undefined
        ? {}
        : { advertise: serving.advertise, dataCenter: serving.dataCenter, rack: serving.rack }),
      listeners: distinct(present.flatMap((report) => report.listeners)),
      traffic,
    }
  }
}

/**
 * In a worker: waits for the supervisor's first word. When the supervisor goes away the worker ends too, with code 1.
 * @throws RingfenceError USAGE outside a worker
 */
export async function connectWorker(log: Logger = createLogger('worker')): Promise<Feed> {
  if (process.send === undefined) throw new RingfenceError('USAGE', 'not started by a supervisor')
  const started = Promise.withResolvers<WorkerFeed>()
  let feed: WorkerFeed | undefined
  process.on('message', (message: ToWorker) => {
    if (message.kind === 'start') {
      feed = new WorkerFeed(message, log)
      started.resolve(feed)
    } else {
      feed?.take(message)
    }
  })
  process.on('disconnect', () => {
    log.fatal('supervisor is gone')
    process.exit(1)
  })
  tell({ kind: 'connected' })
  return started.promise
}

class WorkerFeed implements Feed {
  credentials: Credentials
  policy: PolicySnapshot
  sidecars: readonly SidecarEndpoint[]
  gateways: readonly GatewayEndpoint[]
  keys: readonly MeshKey[]
  readonly #onCredentials: Listeners<Credentials>
  readonly #onPolicy: Listeners<PolicySnapshot>
  readonly #onSidecars: Listeners<readonly SidecarEndpoint[]>
  readonly #onGateways: Listeners<readonly GatewayEndpoint[]>
  readonly #onKeys: Listeners<readonly MeshKey[]>
  #makeReport: (() => ProxyReport) | undefined
  readonly #timer: NodeJS.Timeout

  constructor(start: Start, log: Logger) {
    const { certificatePem, keyPem, bundlePem } = start.credentials
    this.credentials = credentialsOf(certificatePem, keyPem, bundlePem)
    this.policy = start.policy
    this.sidecars = start.sidecars
    this.gateways = start.gateways
    this.keys = meshKeysFromWire(start.keys)
    this.#onCredentials = new Listeners(log)
    this.#onPolicy = new Listeners(log)
    this.#onSidecars = new Listeners(log)
    this.#onGateways = new Listeners(log)
    this.#onKeys = new Listeners(log)
    this.#timer = setInterval(() => this.#sendReport(), reportIntervalMs)
  }

  take(message: Exclude<ToWorker, { kind: 'start' }>): void {
    if (message.kind === 'credentials') {
      const { certificatePem, keyPem, bundlePem } = message.credentials
      this.credentials = credentialsOf(certificatePem, keyPem, bundlePem)
      this.#onCredentials.call(this.credentials)
    } else if (message.kind === 'policy') {
      this.policy = message.policy
      this.#onPolicy.call(message.policy)
      // At once, so that the revision is acknowledged as soon as it is in force here.
      this.#sendReport()
    } else if (message.kind === 'keys') {
      this.keys = meshKeysFromWire(message.keys)
      this.#onKeys.call(this.keys)
    } else if (message.kind === 'gateways') {
      this.gateways = message.gateways
      this.#onGateways.call(message.gateways)
    } else {
      this.sidecars = message.sidecars
      this.#onSidecars.call(message.sidecars)
    }
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
    this.#makeReport = make
    this.#sendReport()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#sendReport()
    process.removeAllListeners('disconnect')
    process.disconnect?.()
  }

  #sendReport(): void {
    if (this.#makeReport !== undefined) tell({ kind: 'report', report: this.#makeReport() })
  }
}

function wireOf({ certificatePem, keyPem, bundlePem }: Credentials): WireCredentials {
  return { certificatePem, keyPem, bundlePem }
}

function send(child: ChildProcess, message: ToWorker): void {
  // A worker that dies meanwhile is noticed by its exit.
  child.send(message, () => {})
}

function tell(message: FromWorker): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {})
}

/** What is in force is said where all say the same. */
function digestOf(reports: readonly ProxyReport[]): { policyDigest?: string } {
  const digest = reports[0]?.policyDigest
  return digest !== undefined && reports.every((report) => report.policyDigest === digest)
    ? { policyDigest: digest }
    : {}
}

function sum(reports: readonly ProxyReport[], field: 'connections' | 'sessions' | 'upstreamConnections'): number {
  return reports.reduce((total, report) => total + report[field], 0)
}

/** Workers share their ports (`reusePort`), so each names the same listeners. */
function distinct(listeners: readonly ReportedListener[]): ReportedListener[] {
  return [...new Map(listeners.map((listener) => [`${listener.address} ${listener.port}`, listener])).values()]
}
