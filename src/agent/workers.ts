/**
 * One process per core below one agent. The supervisor holds the agent, forks the workers, starts another for one that dies, and passes on
 * whatever the agent learns. A worker sees it as a `Feed` like any other (`worker-feed.ts`). Messages go over Node's IPC channel, never
 * over a file, so that keys stay in memory.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { after, contained, nothingEnds, type Owner } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import type { Feed } from '../mesh/feed.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { allPushedKinds, type PushedKinds } from '../mesh/pushed.ts'
import { RefusedLogIns, type RefusedPart, reportedBounds } from '../mesh/refused-log-ins.ts'
import { mergeTraffic } from '../mesh/traffic.ts'
import type { Logger } from '../telemetry/log.ts'
import { type FromWorker, type ToWorker, wireCredentials } from './worker-messages.ts'
import { WorkerQuestions } from './worker-questions.ts'
import { sumReports } from './worker-reports.ts'

export interface WorkersOptions {
  readonly count: number
  readonly feed: Feed
  /** The module that calls `connectWorker`. */
  readonly script: string | URL
  readonly args?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  readonly log: Logger
  /** What is passed on; `allPushedKinds` by default. */
  readonly kinds?: PushedKinds
  /** Identity providers whose keys this process itself wants since it was last asked. */
  readonly keysWanted?: () => readonly string[]
  /** Log-ins that this process itself refused since it was last asked. */
  readonly refused?: () => RefusedPart
}

export interface Workers {
  /** Of the workers that live now. */
  readonly pids: readonly number[]
  /** Resolves when every worker has sent its first report, rejects when one dies before. */
  readonly ready: Promise<void>
  /** How often a worker ended and another was started. */
  readonly restarts: number
  /** Asks every worker that lives: the id of its process, and what it answered; undefined where it did not. */
  ask(what: string): Promise<readonly (readonly [number, unknown])[]>
  /** Asks the workers to end (SIGTERM), kills those that have not after `graceMs`. */
  stop(): Promise<void>
}

const restartDelayMsMin = 100
const restartDelayMsMax = 5_000
/** A worker that lived this long died of something new; its next restart is quick again. */
const healthyMs = 10_000
const graceMs = 35_000

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
  readonly #kinds: PushedKinds
  readonly #workers: Worker[]
  readonly #unsubscribe: (() => void)[]
  readonly #ready = Promise.withResolvers<void>()
  /** Rows of workers since the last report of ours; kept across a worker's death. */
  #traffic: ProxyReport['traffic'] = []
  /** Of their reports since the last one of ours. */
  readonly #refusals = new RefusedLogIns(reportedBounds)
  /** The same. */
  readonly #keysWanted = new Set<string>()
  readonly #questions = new WorkerQuestions()
  #restarts = 0
  #stopping = false

  constructor(options: WorkersOptions) {
    const { feed, count } = options
    this.#options = options
    this.#kinds = options.kinds ?? allPushedKinds
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
      feed.credentials.observe((now) => this.#tellAll({ kind: 'credentials', credentials: wireCredentials(now) })),
      ...this.#kinds.map((kind) =>
        feed.value(kind).observe((value) => this.#tellAll({ kind: 'value', name: kind.name, value })),
      ),
    ]
    feed.setReporter(() => this.#report())
    for (const worker of this.#workers) this.#start(worker)
  }

  get pids(): number[] {
    return this.#workers.flatMap(({ process: child }) => (child?.pid === undefined ? [] : [child.pid]))
  }

  get restarts(): number {
    return this.#restarts
  }

  ask(what: string): Promise<readonly (readonly [number, unknown])[]> {
    const living = this.#workers.flatMap(({ process: child }) => (child?.connected === true ? [child] : []))
    return Promise.all(living.map(async (child) => [child.pid ?? 0, await this.#questions.ask(child, what)] as const))
  }

  async stop(): Promise<void> {
    this.#stopping = true
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    await Promise.all(this.#workers.map((worker) => this.#end(worker)))
  }

  #start(worker: Worker): void {
    worker.startedMs = performance.now()
    const { script, args = [], env, log } = this.#options
    const child = fork(script, args, {
      env: { ...process.env, ...env, RINGFENCE_WORKER: String(worker.index) },
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    worker.process = child
    worker.report = undefined
    const take = (message: unknown): void => this.#take(worker, child, message as FromWorker)
    // One that has not reported serves nobody: another takes its place. One that serves goes on, and reports again.
    const unready: Owner = { onFault: () => worker.report === undefined && child.kill('SIGKILL') }
    child.on('message', contained(unready, 'a message of a worker', take))
    const failed = (err: Error): void => {
      // There is no exit of a process that could not be started.
      if (child.pid === undefined) this.#another(worker, { err })
      else log.error({ err, worker: worker.index }, 'worker could not be told')
    }
    child.on('error', contained(nothingEnds, 'an error of a worker', failed))
    const exited = (code: number | null, signal: NodeJS.Signals | null): void => this.#another(worker, { code, signal })
    child.on('exit', contained(nothingEnds, 'the end of a worker', exited))
  }

  #take(worker: Worker, child: ChildProcess, message: FromWorker): void {
    const { feed } = this.#options
    if (message.kind === 'connected') {
      const values = new Map(this.#kinds.map((kind) => [kind.name, feed.value(kind).current]))
      send(child, { kind: 'start', credentials: wireCredentials(feed.credentials.current), values })
      return
    }
    if (message.kind === 'answer') {
      this.#questions.take(message)
      return
    }
    this.#traffic = mergeTraffic(this.#traffic, message.report.traffic)
    this.#refusals.take(message.report)
    worker.report = message.report
    for (const name of message.report.keysWanted ?? []) this.#keysWanted.add(name)
    if (this.#workers.every(({ report }) => report !== undefined)) this.#ready.resolve()
  }

  /** @param why why there must be another: how this one ended, or why it could not be started */
  #another(worker: Worker, why: Readonly<Record<string, unknown>>): void {
    worker.process = undefined
    worker.report = undefined
    if (this.#stopping) return
    this.#restarts++
    if (performance.now() - worker.startedMs > healthyMs) worker.failures = 0
    const delayMs = Math.min(restartDelayMsMax, restartDelayMsMin * 2 ** worker.failures++)
    // Before all that may fail, so that a fault does not leave a worker without another.
    const failed: Owner = { onFault: (err) => this.#another(worker, { err }) }
    worker.restart = after(failed, 'the restart of a worker', delayMs, () => this.#start(worker))
    this.#ready.reject(new RingfenceError('UNAVAILABLE', 'a worker ended before it was ready; its log says why'))
    this.#options.log.error({ worker: worker.index, ...why, delayMs }, 'worker ended, starting another')
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
    const keysWanted = [...new Set([...this.#keysWanted, ...(this.#options.keysWanted?.() ?? [])])]
    this.#keysWanted.clear()
    this.#refusals.take(this.#options.refused?.() ?? {})
    const sum = sumReports(this.#workers.map(({ report }) => report))
    return { ...sum, ...(keysWanted.length === 0 ? {} : { keysWanted }), ...this.#refusals.drain(), traffic }
  }
}

function send(child: ChildProcess, message: ToWorker): void {
  // A worker that dies meanwhile is noticed by its exit.
  child.send(message, () => {})
}
