/** A worker's side of its supervisor: the agent's feed, passed on. */
import { contained, every, nothingEnds } from '../base/contained.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { type Credentials, credentialsVersion } from '../mesh/credentials.ts'
import type { Feed } from '../mesh/feed.ts'
import { type Observable, Observed } from '../mesh/observable.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { allPushedKinds, type PushedKinds } from '../mesh/pushed.ts'
import type { PushedKind } from '../mesh/pushed-kind.ts'
import { PushedValues } from '../mesh/pushed-values.ts'
import { createLogger, type Logger } from '../telemetry/log.ts'
import { credentialsFromWire, type FromWorker, type ToWorker } from './worker-messages.ts'

const reportIntervalMs = 250

export interface WorkerSide extends Feed {
  /** Answers what the supervisor asks; what it gives must survive a structured clone. */
  onAsk(answer: (what: string) => unknown): void
}

/**
 * Waits for the supervisor's first word. When the supervisor goes away the worker ends too, with code 1.
 * @param kinds what is passed on, as the supervisor has it
 * @throws RingfenceError USAGE outside a worker
 */
export async function connectWorker(
  log: Logger = createLogger('worker'),
  kinds: PushedKinds = allPushedKinds,
): Promise<WorkerSide> {
  if (process.send === undefined) throw new RingfenceError('USAGE', 'not started by a supervisor')
  const started = Promise.withResolvers<WorkerFeed>()
  let feed: WorkerFeed | undefined
  const take = (message: ToWorker): void => {
    if (message.kind === 'start') {
      feed = new WorkerFeed(message, kinds)
      started.resolve(feed)
    } else {
      feed?.take(message)
    }
  }
  // A worker that can't start ends, and another is started. What comes later is told again.
  process.on('message', contained({ onFault: started.reject }, 'a message of the supervisor', take))
  process.on('disconnect', () => {
    log.fatal('supervisor is gone')
    process.exit(1)
  })
  tell({ kind: 'connected' })
  return started.promise
}

class WorkerFeed implements WorkerSide {
  readonly #credentials: Observed<Credentials>
  readonly #values: PushedValues
  #makeReport: (() => ProxyReport) | undefined
  #answer: (what: string) => unknown = () => undefined
  readonly #timer: NodeJS.Timeout

  constructor(start: Extract<ToWorker, { kind: 'start' }>, kinds: PushedKinds) {
    this.#credentials = new Observed(credentialsFromWire(start.credentials), credentialsVersion)
    this.#values = new PushedValues(kinds)
    for (const [name, value] of start.values) this.#set(name, value)
    this.#timer = every(nothingEnds, 'a report of a worker', reportIntervalMs, () => this.#sendReport())
  }

  get credentials(): Observable<Credentials> {
    return this.#credentials
  }

  value<T>(kind: PushedKind<T>): Observable<T> {
    return this.#values.value(kind)
  }

  take(message: Exclude<ToWorker, { kind: 'start' }>): void {
    if (message.kind === 'credentials') {
      this.#credentials.set(credentialsFromWire(message.credentials))
      return
    }
    if (message.kind === 'ask') {
      tell({ kind: 'answer', number: message.number, answer: this.#answer(message.what) })
      return
    }
    this.#set(message.name, message.value)
    // At once, so that a policy is acknowledged as soon as it is in force here.
    this.#sendReport()
  }

  setReporter(make: () => ProxyReport): void {
    this.#makeReport = make
    this.#sendReport()
  }

  onAsk(answer: (what: string) => unknown): void {
    this.#answer = answer
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#sendReport()
    process.removeAllListeners('disconnect')
    process.disconnect?.()
  }

  #set(name: string, value: unknown): void {
    const kind = this.#values.kindNamed(name)
    assert(kind !== undefined, `the supervisor passes on ${name}, which this worker does not know`)
    this.#values.value(kind).set(value)
  }

  #sendReport(): void {
    if (this.#makeReport !== undefined) tell({ kind: 'report', report: this.#makeReport() })
  }
}

function tell(message: FromWorker): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {})
}
