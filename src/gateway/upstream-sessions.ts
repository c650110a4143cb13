/**
 * The upstream sessions of one client session.
 *
 * Rule: there is at most one for each sidecar that takes requests. One that is leaving belongs to its link only, until it has closed.
 */
import { RingfenceError } from '../base/errors.ts'
import type { Open } from '../link/protocol.ts'
import type { Client, StartupInfo } from '../session/backend.ts'
import type { GatewayLink } from './link.ts'
import { passportFor } from './passport.ts'
import type { RemoteSidecar } from './remote-sidecar.ts'
import { type UpstreamHost, UpstreamSession } from './upstream-session.ts'

/** After one could not be opened, for so long no other is opened at that sidecar. */
const retryMicros = 5_000_000
/** One that no request went by for so long is closed. */
const idleMicrosMax = 300_000_000

export interface UpstreamOptions {
  readonly client: Client
  readonly startup: StartupInfo
  /** Names the client's connection in the record. */
  readonly session: string
  readonly nowMicros: () => number
  readonly host: UpstreamHost
}

export class UpstreamSessions {
  readonly #options: UpstreamOptions
  /** By `RemoteSidecar.index`. */
  readonly #upstreams: (UpstreamSession | undefined)[] = []
  /** By `RemoteSidecar.index`: not before then. */
  readonly #retryAt: number[] = []
  #closed = false
  #answersPaused = false

  constructor(options: UpstreamOptions) {
    this.#options = options
  }

  /** The one at `sidecar`, if it takes requests now; else one is opened for requests to come, with `keyspace` in force. */
  at(sidecar: RemoteSidecar, keyspace: string): UpstreamSession | undefined {
    const upstream = this.#upstreams[sidecar.index]
    if (upstream?.usable === true && upstream.link === sidecar.link) return upstream
    if (upstream === undefined || upstream.state !== 'opening') this.#openLater(sidecar, keyspace)
    return undefined
  }

  /** Opens one at `sidecar`; the one that was there leaves. `events`: what the client hears by it. Throws `IDENTITY`. */
  open(sidecar: RemoteSidecar, link: GatewayLink, keyspace: string, events: readonly string[]): UpstreamSession {
    const { client, startup, session, host } = this.#options
    const passport = passportFor(client.info, startup, link, Date.now())
    const { version } = startup
    this.#upstreams[sidecar.index]?.leave()
    const inForce = keyspace === '' ? {} : { keyspace }
    const upstream = new UpstreamSession(sidecar, link, client, host, {
      passport,
      session,
      version,
      ...inForce,
      events: [...events],
      ...limitAnswersOf(startup),
    })
    if (this.#answersPaused) upstream.pauseAnswers(true)
    upstream.usedMicros = this.#options.nowMicros()
    this.#upstreams[sidecar.index] = upstream
    return upstream
  }

  /** `upstream` leaves, and another is opened at the same sidecar. */
  replace(upstream: UpstreamSession, keyspace: string): void {
    upstream.leave()
    this.#openLater(upstream.sidecar, keyspace)
  }

  /** The first that takes requests and of which `wanted` is true. */
  find(wanted: (upstream: UpstreamSession) => boolean): UpstreamSession | undefined {
    return this.#upstreams.find((upstream) => upstream?.usable === true && wanted(upstream))
  }

  /** To be called for one that closed by itself. */
  gone(upstream: UpstreamSession): void {
    const { index } = upstream.sidecar
    if (this.#upstreams[index] === upstream) this.#upstreams[index] = undefined
    if (!upstream.wasOpen) this.#retryAt[index] = this.#options.nowMicros() + retryMicros
  }

  /** The client takes no answers for now, or does again. */
  pauseAnswers(paused: boolean): void {
    this.#answersPaused = paused
    for (const upstream of this.#upstreams) upstream?.pauseAnswers(paused)
  }

  /** Closes those that no request goes by, except `kept`. */
  giveUpIdle(kept: UpstreamSession | undefined): void {
    const before = this.#options.nowMicros() - idleMicrosMax
    for (const upstream of this.#upstreams) {
      if (upstream !== undefined && upstream !== kept && upstream.inFlight === 0 && upstream.usedMicros < before)
        upstream.leave()
    }
  }

  close(): void {
    this.#closed = true
    for (const upstream of this.#upstreams) upstream?.close()
  }

  #openLater(sidecar: RemoteSidecar, keyspace: string): void {
    const { link } = sidecar
    const now = this.#options.nowMicros()
    if (link?.usable !== true || this.#closed || now < (this.#retryAt[sidecar.index] ?? 0)) return
    try {
      this.open(sidecar, link, keyspace, [])
    } catch (reason) {
      // The client's certificate has ended, say; then its connection is about to.
      if (!(reason instanceof RingfenceError)) throw reason
      this.#retryAt[sidecar.index] = now + retryMicros
    }
  }
}

/** A sidecar of before would refuse what it does not know, so it is said where it matters only. */
function limitAnswersOf({ limitAnswers }: StartupInfo): Pick<Open, 'limitAnswers'> {
  if (limitAnswers === undefined) return {}
  return limitAnswers.rateLimitError || limitAnswers.throwOnOverload ? { limitAnswers } : {}
}
