/**
 * The keys of the policy's identity providers: fetched again and again, and given to the proxies.
 *
 *   policy in force ─▶ one watch a provider ─ fetchKeys ─▶ the pushed value `keySets`
 *                          ▲ a proxy saw a key that it does not know
 *
 * Rule: a provider that is away costs no log-in: its last keys stay, and each proxy uses them as long as the provider's document allows. What
 * a provider answers holds at once, also that a key is no more.
 */
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../../base/clock.ts'
import { after, containOwnFault, nothingEnds, settle } from '../../base/contained.ts'
import type { PublicJwk } from '../../identity/jwt/keys.ts'
import { issuerOf, type KeySet } from '../../identity/providers/in-force.ts'
import { typeOf } from '../../identity/providers/index.ts'
import type { KeySource, ProviderDocument } from '../../identity/providers/provider.ts'
import { readIfThere, writeFileAtomically } from '../../mesh/files.ts'
import type { Observable, Observed } from '../../mesh/observable.ts'
import { type PolicySnapshot, pushedKinds } from '../../mesh/pushed.ts'
import { loadProviders } from '../../policy/providers.ts'
import type { Logger } from '../../telemetry/log.ts'
import { type FetchKeys, fetchKeys } from './fetch-keys.ts'

/** For whatever reason, a provider is asked no more often. */
const wantedMsMin = 30_000
const retryMsMin = 1_000
/** A provider that is back with other keys: drivers whose tokens are by these are to be back within a minute, and try again by their own clocks. */
const retryMsMax = 20_000
/** Keys that stay the same are told again after so long, so that proxies see them fresh. */
const toldMsMax = 5 * 60_000

export interface KeySetsOptions {
  readonly policy: Observable<PolicySnapshot>
  readonly published: Observed<readonly KeySet[]>
  readonly clock: Clock
  readonly log: Logger
  /** Where the last keys are kept through a restart. */
  readonly stateDir: string
  readonly fetch?: FetchKeys
}

interface Watched {
  readonly source: KeySource
  readonly issuer: string
  set: KeySet | undefined
  timer: NodeJS.Timeout | undefined
  failures: number
  /** Of the last attempt, by the monotonic clock. */
  askedMs: number
  fetching: boolean
}

export class KeySets {
  readonly #options: KeySetsOptions
  readonly #fetch: FetchKeys
  readonly #path: string
  readonly #watched = new Map<string, Watched>()
  readonly #stopped = new AbortController()
  #unsubscribe: (() => void) | undefined

  constructor(options: KeySetsOptions) {
    this.#options = options
    this.#fetch = options.fetch ?? fetchKeys
    this.#path = join(options.stateDir, 'key-sets.json')
  }

  start(): void {
    const { policy } = this.#options
    const kept = this.#read()
    this.#take(loadProviders(policy.current.source), kept)
    this.#unsubscribe = policy.observe(({ source }) => this.#take(loadProviders(source), []))
  }

  stop(): void {
    this.#unsubscribe?.()
    this.#stopped.abort()
    for (const { timer } of this.#watched.values()) clearTimeout(timer)
  }

  /** A proxy was shown a token by a key that it does not know, or has no keys. */
  want(providers: readonly string[]): void {
    const nowMs = this.#options.clock.monotonic()
    for (const name of providers) {
      const watched = this.#watched.get(name)
      // While it fails it is asked again by itself.
      if (watched === undefined || watched.failures > 0 || nowMs - watched.askedMs < wantedMsMin) continue
      this.#ask(name, watched)
    }
  }

  #take(documents: readonly ProviderDocument[], kept: readonly KeySet[]): void {
    const names = new Set(documents.map(({ name }) => name))
    for (const [name, { timer }] of this.#watched) {
      if (names.has(name)) continue
      clearTimeout(timer)
      this.#watched.delete(name)
    }
    for (const document of documents) {
      const { name, spec } = document
      const source = typeOf(spec).keySource(spec)
      const issuer = issuerOf(document)
      const before = this.#watched.get(name)
      if (before !== undefined && before.issuer === issuer && isDeepStrictEqual(before.source, source)) continue
      clearTimeout(before?.timer)
      this.#watched.delete(name)
      if (source === undefined) continue
      // Another address may have other keys: those of before stay only where the issuer is the same.
      const known =
        before?.issuer === issuer ? before.set : kept.find((one) => one.provider === name && one.issuer === issuer)
      const watched = { source, issuer, set: known, timer: undefined, failures: 0, askedMs: 0, fetching: false }
      this.#watched.set(name, watched)
      this.#ask(name, watched)
    }
    this.#publish()
  }

  #ask(name: string, watched: Watched): void {
    if (watched.fetching || this.#stopped.signal.aborted) return
    clearTimeout(watched.timer)
    watched.fetching = true
    watched.askedMs = this.#options.clock.monotonic()
    const isStale = (): boolean => {
      watched.fetching = false
      return this.#watched.get(name) !== watched || this.#stopped.signal.aborted
    }
    settle(
      nothingEnds,
      'the keys of an identity provider',
      this.#fetch(watched.source, this.#stopped.signal),
      (keys) => {
        if (!isStale()) this.#fetched(name, watched, keys)
      },
      (reason) => {
        if (!isStale()) this.#failed(name, watched, reason)
      },
    )
  }

  #fetched(name: string, watched: Watched, keys: readonly PublicJwk[]): void {
    const { clock, log } = this.#options
    const { set: before, failures, source } = watched
    const fetchedAtMs = clock.now()
    watched.failures = 0
    // A tenth sooner or later, so that many providers and control planes do not ask in step.
    this.#askAfter(name, watched, source.refreshMs * (0.9 + Math.random() * 0.2))
    const isSame = before !== undefined && isDeepStrictEqual(before.keys, keys)
    if (!isSame || failures > 0) {
      const told = { provider: name, keys: keys.length, before: before?.keys.length }
      if (keys.length === 0) log.warn(told, 'an identity provider has no keys that can be used; nobody logs in by it')
      else log.info(told, 'keys of an identity provider fetched')
    }
    if (isSame && fetchedAtMs - before.fetchedAtMs < toldMsMax) return
    watched.set = { provider: name, issuer: watched.issuer, keys, fetchedAtMs }
    this.#publish()
  }

  #failed(name: string, watched: Watched, reason: unknown): void {
    containOwnFault('the keys of an identity provider', reason)
    const delayMs = Math.min(retryMsMax, retryMsMin * 2 ** watched.failures++) * (0.5 + Math.random() / 2)
    const told = {
      provider: name,
      reason: reason instanceof Error ? reason.message : String(reason),
      delayMs: Math.round(delayMs),
    }
    this.#options.log.warn(told, 'keys of an identity provider not fetched; those of before stay in use')
    this.#askAfter(name, watched, delayMs)
  }

  #askAfter(name: string, watched: Watched, ms: number): void {
    watched.timer = after(nothingEnds, 'the next fetch of keys', ms, () => this.#ask(name, watched)).unref()
  }

  #publish(): void {
    const sets = [...this.#watched.values()].flatMap(({ set }) => (set === undefined ? [] : [set]))
    sets.sort((a, b) => (a.provider < b.provider ? -1 : 1))
    if (!this.#options.published.set(sets)) return
    try {
      writeFileAtomically(this.#path, JSON.stringify(pushedKinds.keySets.write(sets)), 0o600)
    } catch (err) {
      this.#options.log.error({ err }, 'keys of identity providers could not be kept for the next start')
    }
  }

  /** What is damaged is fetched anew. */
  #read(): readonly KeySet[] {
    try {
      const reading = pushedKinds.keySets.read(JSON.parse(readIfThere(this.#path) ?? '{"keySets":[]}'))
      if (reading.understood) return reading.value
    } catch (err) {
      this.#options.log.warn({ err }, 'kept keys of identity providers cannot be read')
    }
    return []
  }
}
