/** What the parts of an agent share: who it is, its connection to the control plane, and when to stop. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { type Credentials, credentialsVersion } from '../mesh/credentials.ts'
import { Observed } from '../mesh/observable.ts'
import type { Logger } from '../telemetry/log.ts'
import { ControlClient } from './client.ts'

export interface SessionOptions {
  readonly controlUrl: string
  readonly log: Logger
  readonly clock: Clock
  /** 0 up to 1, for jitter. */
  readonly random: () => number
}

export class ControlSession {
  readonly options: SessionOptions
  readonly #credentials: Observed<Credentials>
  readonly #stopped = new AbortController()
  readonly #client: ControlClient

  constructor(options: SessionOptions, credentials: Credentials) {
    this.options = options
    this.#credentials = new Observed(credentials, credentialsVersion)
    this.#client = new ControlClient(options.controlUrl, credentials, options.clock)
  }

  get credentials(): Observed<Credentials> {
    return this.#credentials
  }

  get client(): ControlClient {
    return this.#client
  }

  get isStopped(): boolean {
    return this.#stopped.signal.aborted
  }

  /** Connections from now on show the new certificate. */
  setCredentials(credentials: Credentials): void {
    this.#client.setCredentials(credentials)
    this.#credentials.set(credentials)
  }

  /** Ends early when the agent stops. */
  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stopped.signal }).catch(() => {})
  }

  stop(): void {
    this.#stopped.abort()
    this.#client.close()
  }
}
