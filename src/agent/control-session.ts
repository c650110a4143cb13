/** What the parts of an agent share: who it is, its connection to the control plane, and when to stop. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { contained, nothingEnds } from '../base/contained.ts'
import { type Credentials, credentialsVersion } from '../mesh/credentials.ts'
import { Observed } from '../mesh/observable.ts'
import type { Logger } from '../telemetry/log.ts'
import { ControlClient } from './client.ts'
import { rootsTogether } from './control-roots.ts'

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
  /** The newest roots that were told, and the number of that. */
  #bundle: { readonly sequence: number; readonly pem: string } | undefined
  /** Roots that are trusted beside those: of the Workload API that the certificate comes from. */
  #rootsBeside = ''
  /** The leaf that is to be renewed at once. */
  #hurriedLeaf: Buffer | undefined
  #hurried = new AbortController()
  #answered = new AbortController()

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

  /** With the newest roots that are known: what is pushed and what is answered may overtake one another. */
  withNewestBundle(credentials: Credentials, sequence: number): Credentials {
    if (this.#bundle === undefined || sequence >= this.#bundle.sequence)
      this.#bundle = { sequence, pem: credentials.bundlePem }
    const bundlePem = this.#rootsBeside === '' ? this.#bundle.pem : rootsTogether(this.#bundle.pem, this.#rootsBeside)
    return { ...credentials, bundlePem }
  }

  /** Of the control plane; `''` while it told none. */
  get rootsTold(): string {
    return this.#bundle?.pem ?? ''
  }

  /** Roots that the control plane told before this process, or that it is known by. */
  startWithRoots(pem: string): void {
    this.#bundle = { sequence: -1, pem }
  }

  /** A certificate of a Workload API with the roots that came with it. */
  takeSvid(svid: Credentials): void {
    this.#rootsBeside = svid.bundlePem
    this.setCredentials({ ...svid, bundlePem: rootsTogether(this.rootsTold, svid.bundlePem) })
  }

  /** The certificate is to be renewed now, rather than in its time. False where that was said of this one. */
  hurry(leafDer: Buffer): boolean {
    if (this.#hurriedLeaf?.equals(leafDer) === true) return false
    this.#hurriedLeaf = leafDer
    this.#hurried.abort()
    return true
  }

  /** True when a renewal is wanted at once; a pause that ends otherwise gives false. */
  async pauseToRenew(ms: number): Promise<boolean> {
    const signal = AbortSignal.any([this.#stopped.signal, this.#hurried.signal])
    await sleep(ms, undefined, { signal }).catch(() => {})
    const { aborted } = this.#hurried.signal
    if (aborted) this.#hurried = new AbortController()
    return aborted
  }

  /** Ends early when the agent stops. */
  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stopped.signal }).catch(() => {})
  }

  /** The control plane, which was away, has answered: who waits to try again does so now. */
  answersAgain(): void {
    this.#answered.abort()
    this.#answered = new AbortController()
  }

  /** As `pause`; ends early when the control plane answers again, too. */
  async pauseToRetry(ms: number): Promise<void> {
    const signal = AbortSignal.any([this.#stopped.signal, this.#answered.signal])
    await sleep(ms, undefined, { signal }).catch(() => {})
  }

  onStop(callback: () => void): void {
    this.#stopped.signal.addEventListener('abort', contained(nothingEnds, 'the end of an agent', callback))
  }

  stop(): void {
    this.#stopped.abort()
    this.#client.close()
  }
}
