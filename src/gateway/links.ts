/**
 * The gateway's links: one to each live sidecar, opened again when lost, replaced before a certificate ends.
 */
import { after, containOwnFault, type Owner, timerMsMax, unawaited } from '../base/contained.ts'
import type { Revocations } from '../identity/revoked/revocations.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { SidecarEndpoint } from '../mesh/endpoints.ts'
import type { Turn } from '../session/turn.ts'
import type { Logger } from '../telemetry/log.ts'
import { Repeated } from '../telemetry/repeated.ts'
import { GatewayLink } from './link.ts'
import { cheapest, type Locality, RemoteSidecar } from './remote-sidecar.ts'

const retryMsMin = 100
const retryMsMax = 5000
/** A link is replaced when this part of its certificates' remaining life is over. */
const recycleAt = 0.75

/** How a sidecar comes to have a link. */
interface Upkeep {
  readonly sidecar: RemoteSidecar
  retryMs: number
  timer: NodeJS.Timeout | undefined
  opening: boolean
  readonly faults: Repeated
}

export interface MeshLinksOptions {
  readonly turn: Turn
  readonly log: Logger
  readonly credentials: Credentials
  readonly locality: Locality
  readonly revocations: Revocations
}

export class MeshLinks {
  readonly #options: MeshLinksOptions
  readonly #upkeep = new Map<string, Upkeep>()
  readonly #all = new Set<GatewayLink>()
  /** Called when a link may have become usable. */
  readonly #waiting = new Set<() => void>()
  readonly #onChange = new Set<(link: GatewayLink | undefined) => void>()
  #credentials: Credentials
  #stopped = false
  #sidecars: readonly RemoteSidecar[] = []

  constructor(options: MeshLinksOptions) {
    this.#options = options
    this.#credentials = options.credentials
  }

  /** Every sidecar there is; another array whenever there are others. */
  get sidecars(): readonly RemoteSidecar[] {
    return this.#sidecars
  }

  /** Called when sidecars came or went, and with the link when its sidecar said something new; the result unsubscribes. */
  onChange(callback: (link: GatewayLink | undefined) => void): () => void {
    this.#onChange.add(callback)
    return () => this.#onChange.delete(callback)
  }

  /** The sidecars there are now; links to others are drained. */
  setEndpoints(endpoints: readonly SidecarEndpoint[]): void {
    const names = new Set(endpoints.map((endpoint) => endpoint.spiffeId))
    for (const [id, upkeep] of this.#upkeep) {
      if (names.has(id)) continue
      this.#upkeep.delete(id)
      clearTimeout(upkeep.timer)
      upkeep.sidecar.link?.drain()
    }
    for (const endpoint of endpoints) {
      const upkeep = this.#upkeep.get(endpoint.spiffeId)
      if (upkeep === undefined) this.#add(endpoint)
      else if (upkeep.sidecar.endpoint.address !== endpoint.address || upkeep.sidecar.endpoint.port !== endpoint.port) {
        upkeep.sidecar.endpoint = endpoint
        this.#start(upkeep)
      }
    }
    this.#sidecars = [...this.#upkeep.values()].map(({ sidecar }) => sidecar)
    this.#changed(undefined)
  }

  #add(endpoint: SidecarEndpoint): void {
    const taken = new Set([...this.#upkeep.values()].map(({ sidecar }) => sidecar.index))
    let index = 0
    while (taken.has(index)) index++
    const upkeep = {
      sidecar: new RemoteSidecar(index, endpoint),
      retryMs: retryMsMin,
      timer: undefined,
      opening: false,
      faults: new Repeated(),
    }
    this.#upkeep.set(endpoint.spiffeId, upkeep)
    this.#start(upkeep)
  }

  /** New links show the new certificate, at once; where only the roots are others, links that are there stay. */
  setCredentials(credentials: Credentials): void {
    const { certificatePem } = this.#credentials
    this.#credentials = credentials
    if (credentials.certificatePem === certificatePem) return
    for (const upkeep of this.#upkeep.values()) this.#start(upkeep)
  }

  /** Another one takes its place, and its sessions move there. */
  replace(link: GatewayLink): void {
    for (const upkeep of this.#upkeep.values()) if (upkeep.sidecar.link === link) this.#start(upkeep)
  }

  get all(): Iterable<GatewayLink> {
    return this.#all
  }

  get usable(): readonly GatewayLink[] {
    return [...this.#all].filter((link) => link.usable)
  }

  /** The least loaded sidecar that can be asked. */
  choose(): RemoteSidecar | undefined {
    return cheapest(this.#sidecars, this.#options.turn.nowMicros())
  }

  /** As `choose`, waited for at most `ms`; `undefined` when none came. */
  async chooseWithin(ms: number): Promise<RemoteSidecar | undefined> {
    const until = performance.now() + ms
    for (;;) {
      const sidecar = this.choose()
      const left = until - performance.now()
      if (sidecar !== undefined || left <= 0 || this.#stopped) return sidecar
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
    for (const { timer } of this.#upkeep.values()) clearTimeout(timer)
    for (const link of this.#all) link.destroy('the gateway stops')
    this.#wakeAll()
  }

  #start(upkeep: Upkeep): void {
    unawaited(this.#retrying(upkeep), 'opening a link', this.#open(upkeep))
  }

  #startIn(upkeep: Upkeep, ms: number): NodeJS.Timeout {
    return after(this.#retrying(upkeep), 'opening a link', ms, () => this.#start(upkeep))
  }

  /** What fails is tried again. */
  #retrying(upkeep: Upkeep): Owner {
    return { onFault: () => this.#retry(upkeep) }
  }

  async #open(upkeep: Upkeep): Promise<void> {
    if (upkeep.opening || this.#stopped) return
    const { sidecar } = upkeep
    upkeep.opening = true
    clearTimeout(upkeep.timer)
    const credentials = this.#credentials
    try {
      const link = await GatewayLink.open({
        endpoint: sidecar.endpoint,
        sidecarIndex: sidecar.index,
        credentials,
        turn: this.#options.turn,
        revocations: this.#options.revocations,
        onHello: (greeted) => this.#greeted(sidecar, greeted),
        onClosed: (closed, reason) => this.#closed(upkeep, closed, reason),
      })
      this.#all.add(link)
      sidecar.link?.drain()
      sidecar.link = link
      upkeep.retryMs = retryMsMin
      upkeep.opening = false
      upkeep.faults.over()
      this.#greeted(sidecar, link)
      if (!this.#upkeep.has(sidecar.endpoint.spiffeId)) link.drain()
      else if (credentials !== this.#credentials) this.#start(upkeep)
      else this.#recycleInTime(upkeep, link)
    } catch (reason) {
      upkeep.opening = false
      containOwnFault('a mesh link that opens', reason)
      const message = reason instanceof Error ? reason.message : String(reason)
      const repeated = upkeep.faults.due(message)
      if (repeated !== undefined) {
        this.#options.log.warn({ sidecar: sidecar.endpoint.name, reason: message, repeated }, 'mesh link not opened')
      }
      this.#retry(upkeep)
    }
  }

  #greeted(sidecar: RemoteSidecar, link: GatewayLink): void {
    if (sidecar.link !== link || link.hello === undefined) return
    sidecar.introduce(this.#options.locality)
    this.#changed(link)
    this.#wakeAll()
  }

  #changed(link: GatewayLink | undefined): void {
    for (const callback of this.#onChange) callback(link)
  }

  #recycleInTime(upkeep: Upkeep, link: GatewayLink): void {
    const lifeMs = Math.max(link.notAfterMs - Date.now(), 0) * recycleAt
    clearTimeout(upkeep.timer)
    upkeep.timer = this.#startIn(upkeep, Math.min(Math.max(lifeMs, 1000), timerMsMax))
  }

  #closed(upkeep: Upkeep, link: GatewayLink, reason: string): void {
    const { sidecar } = upkeep
    this.#all.delete(link)
    if (sidecar.link !== link) return
    sidecar.link = undefined
    if (this.#stopped || !this.#upkeep.has(sidecar.endpoint.spiffeId)) return
    this.#options.log.warn({ sidecar: sidecar.endpoint.name, reason }, 'mesh link lost')
    this.#retry(upkeep)
  }

  #retry(upkeep: Upkeep): void {
    if (this.#stopped || !this.#upkeep.has(upkeep.sidecar.endpoint.spiffeId)) return
    clearTimeout(upkeep.timer)
    upkeep.timer = this.#startIn(upkeep, upkeep.retryMs * (0.5 + Math.random() / 2))
    upkeep.retryMs = Math.min(upkeep.retryMs * 2, retryMsMax)
  }

  #wakeAll(): void {
    for (const wake of [...this.#waiting]) wake()
  }
}
