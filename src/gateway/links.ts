/**
 * The gateway's links: one to each live sidecar, opened again when lost, replaced before a certificate ends.
 */
import type { Credentials, SidecarEndpoint } from '../agent/api.ts'
import type { Turn } from '../session/turn.ts'
import type { Logger } from '../telemetry/log.ts'
import { GatewayLink } from './link.ts'

const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 5000
/** A link is replaced when this part of its certificates' remaining life is over. */
const RECYCLE_AT = 0.75
const TIMER_MS_MAX = 2 ** 31 - 1

interface Place {
  endpoint: SidecarEndpoint
  link: GatewayLink | undefined
  retryMs: number
  timer: NodeJS.Timeout | undefined
  opening: boolean
}

export interface MeshLinksOptions {
  readonly turn: Turn
  readonly log: Logger
  readonly credentials: Credentials
}

export class MeshLinks {
  readonly #options: MeshLinksOptions
  readonly #places = new Map<string, Place>()
  readonly #all = new Set<GatewayLink>()
  /** Called when a link may have become usable. */
  readonly #waiting = new Set<() => void>()
  #credentials: Credentials
  #stopped = false

  constructor(options: MeshLinksOptions) {
    this.#options = options
    this.#credentials = options.credentials
  }

  /** The sidecars there are now; links to others are drained. */
  setEndpoints(endpoints: readonly SidecarEndpoint[]): void {
    const names = new Set(endpoints.map((endpoint) => endpoint.spiffeId))
    for (const [id, place] of this.#places) {
      if (names.has(id)) continue
      this.#places.delete(id)
      clearTimeout(place.timer)
      place.link?.drain()
    }
    for (const endpoint of endpoints) {
      const place = this.#places.get(endpoint.spiffeId)
      if (place === undefined) {
        const fresh: Place = { endpoint, link: undefined, retryMs: RETRY_MS_MIN, timer: undefined, opening: false }
        this.#places.set(endpoint.spiffeId, fresh)
        void this.#open(fresh)
      } else if (place.endpoint.address !== endpoint.address || place.endpoint.port !== endpoint.port) {
        place.endpoint = endpoint
        void this.#open(place)
      }
    }
  }

  /** New links show the new certificate, at once. */
  setCredentials(credentials: Credentials): void {
    this.#credentials = credentials
    for (const place of this.#places.values()) void this.#open(place)
  }

  get usable(): readonly GatewayLink[] {
    return [...this.#all].filter((link) => link.usable)
  }

  /** The usable link with the fewest sessions. */
  choose(): GatewayLink | undefined {
    let best: GatewayLink | undefined
    for (const link of this.#all) {
      if (link.usable && (best === undefined || link.sessionsOpen < best.sessionsOpen)) best = link
    }
    return best
  }

  /** A link, waited for at most `ms`; `undefined` when none came. */
  async chooseWithin(ms: number): Promise<GatewayLink | undefined> {
    const until = performance.now() + ms
    for (;;) {
      const link = this.choose()
      const left = until - performance.now()
      if (link !== undefined || left <= 0 || this.#stopped) return link
      await new Promise<void>((resolve) => {
        const timer = setTimeout(wake, left)
        const waiting = this.#waiting
        function wake(): void {
          clearTimeout(timer)
          waiting.delete(wake)
          resolve()
        }
        waiting.add(wake)
      })
    }
  }

  stop(): void {
    this.#stopped = true
    for (const place of this.#places.values()) clearTimeout(place.timer)
    for (const link of this.#all) link.destroy('the gateway stops')
    this.#wakeAll()
  }

  async #open(place: Place): Promise<void> {
    if (place.opening || this.#stopped) return
    place.opening = true
    clearTimeout(place.timer)
    const credentials = this.#credentials
    try {
      const link = await GatewayLink.open({
        endpoint: place.endpoint,
        credentials,
        turn: this.#options.turn,
        onHello: () => this.#wakeAll(),
        onClosed: (closed, reason) => this.#closed(place, closed, reason),
      })
      this.#all.add(link)
      place.link?.drain()
      place.link = link
      place.retryMs = RETRY_MS_MIN
      place.opening = false
      if (!this.#places.has(place.endpoint.spiffeId)) link.drain()
      else if (credentials !== this.#credentials) void this.#open(place)
      else this.#recycleInTime(place, link)
    } catch (reason) {
      place.opening = false
      const message = reason instanceof Error ? reason.message : String(reason)
      this.#options.log.info({ sidecar: place.endpoint.name, reason: message }, 'mesh link not opened')
      this.#retry(place)
    }
  }

  #recycleInTime(place: Place, link: GatewayLink): void {
    const lifeMs = Math.max(link.notAfterMs - Date.now(), 0) * RECYCLE_AT
    clearTimeout(place.timer)
    place.timer = setTimeout(() => void this.#open(place), Math.min(Math.max(lifeMs, 1000), TIMER_MS_MAX))
  }

  #closed(place: Place, link: GatewayLink, reason: string): void {
    this.#all.delete(link)
    if (place.link !== link) return
    place.link = undefined
    if (this.#stopped || !this.#places.has(place.endpoint.spiffeId)) return
    this.#options.log.warn({ sidecar: place.endpoint.name, reason }, 'mesh link lost')
    this.#retry(place)
  }

  #retry(place: Place): void {
    if (this.#stopped || !this.#places.has(place.endpoint.spiffeId)) return
    clearTimeout(place.timer)
    place.timer = setTimeout(() => void this.#open(place), place.retryMs * (0.5 + Math.random() / 2))
    place.retryMs = Math.min(place.retryMs * 2, RETRY_MS_MAX)
  }

  #wakeAll(): void {
    for (const wake of [...this.#waiting]) wake()
  }
}
