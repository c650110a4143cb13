/**
 * A session's primary sidecar. It has the session's events. What belongs to the session and not to a row goes there (PREPARE, USE,
 * REGISTER), and whatever cannot be routed. While there is none, requests wait here, and the session is linked to another sidecar.
 *
 *   opening ──OPENED──▶ current ──its link drains, or is lost, or it is ejected──▶ relinking ──OPENED──▶ current, and what waited is served
 *                                                                    └─ no sidecar within relinkMsMax ─▶ the client's connection is drained
 */
import { contained, type Owner, settle } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { isRefusalCause, LogInRefused } from '../identity/refusal.ts'
import type { Close } from '../link/protocol.ts'
import { HeldRequests } from '../session/held.ts'
import type { Passing } from './passing.ts'
import type { SessionState } from './session-state.ts'
import type { UpstreamSession } from './upstream-session.ts'

/** How long a request waits for a link when its session has none. */
const relinkMsMax = 5000
/** A session that no other sidecar took stays for so long with one that is ejected. */
const staysMicros = 5_000_000

export class Primary {
  readonly #state: SessionState
  readonly #held: HeldRequests<Passing>
  #current: UpstreamSession | undefined
  /** The next one, while it opens. */
  #opening: { readonly upstream: UpstreamSession; readonly done: PromiseWithResolvers<void> } | undefined
  #relinking = false
  /** Until then it does not look for another although the current one is ejected. */
  #staysUntilMicros = 0
  /** The types that the client registered for. */
  #events: readonly string[] = []

  readonly #session: Owner
  readonly #serve: (request: Passing) => void
  /** Of those that waited, the one that is served now. */
  #serving: Passing | undefined

  /** `serve` takes a request that waited; it does not throw. */
  constructor(state: SessionState, session: Owner, serve: (request: Passing) => void) {
    this.#state = state
    this.#session = session
    this.#serve = serve
    const { client } = state
    this.#held = new HeldRequests<Passing>(
      {
        serve: (request) => this.#serveHeld(request),
        refuse: ({ stream }, reason) => {
          state.streamOver(stream)
          client.fault(reason, stream)
        },
        onCrowded: () => client.pause(),
      },
      client.account,
      state.statements.share,
    )
  }

  get current(): UpstreamSession | undefined {
    return this.#current
  }

  get events(): readonly string[] {
    return this.#events
  }

  /** Remembered for the next primary sidecar. */
  register(types: readonly string[]): void {
    this.#events = [...new Set([...this.#events, ...types])]
  }

  /** Resolves when a sidecar has taken the session. Throws `UNAVAILABLE` or what the sidecar said. */
  async open(): Promise<void> {
    const { services, upstreams, keyspace } = this.#state
    const sidecar = await services.links.chooseWithin(relinkMsMax)
    if (sidecar?.link === undefined) throw new RingfenceError('UNAVAILABLE', 'no node of the cluster is reachable')
    if (this.#state.closed) throw new RingfenceError('UNAVAILABLE', 'the client is gone')
    const done = Promise.withResolvers<void>()
    const upstream = upstreams.open(sidecar, sidecar.link, keyspace, this.#events)
    this.#opening = { upstream, done }
    await done.promise
    const before = this.#current
    this.#setCurrent(upstream)
    before?.leave()
  }

  /** Sends, or waits. Throws OVERLOADED where as much waits as may. */
  send(request: Passing): void {
    const nowMicros = this.#state.services.nowMicros()
    const current = this.#next(nowMicros)
    if (current !== undefined) current.send(request, request.stream, nowMicros)
    else this.#hold(request, nowMicros)
  }

  /** The current one, if it takes requests and should be sent some. */
  ready(nowMicros: number): UpstreamSession | undefined {
    const current = this.#current
    return current?.usable === true && !this.ejected(current, nowMicros) ? current : undefined
  }

  /** Whether nothing should be sent to the sidecar of `upstream` now, because it hangs or fails and there is another. */
  ejected({ sidecar }: UpstreamSession, nowMicros: number): boolean {
    if (!sidecar.load.ejected(nowMicros) || nowMicros < this.#staysUntilMicros) return false
    const { sidecars } = this.#state.services.links
    return sidecars.some((other) => other !== sidecar && other.usable && !other.load.ejected(nowMicros))
  }

  /** As `send`, with the answer, which the sidecar gives if it permits the request. Who has to wait asks for the answer anew. */
  sendGiven(answer: Buffer, request: Passing): void {
    const nowMicros = this.#state.services.nowMicros()
    const current = this.#next(nowMicros)
    if (current !== undefined) current.sendGiven(answer, request, request.stream, nowMicros)
    else this.#hold(request, nowMicros)
  }

  onOpened(upstream: UpstreamSession): void {
    if (this.#opening?.upstream !== upstream) return
    const { done } = this.#opening
    this.#opening = undefined
    done.resolve()
  }

  onDraining(upstream: UpstreamSession): void {
    // Without a request, too, for the events.
    if (upstream === this.#current) this.relink()
  }

  /** True when it was the one that was being opened: who waits for that is told. */
  refused(upstream: UpstreamSession, reason: Close): boolean {
    if (this.#opening?.upstream !== upstream) return false
    const { done } = this.#opening
    this.#opening = undefined
    done.reject(refusalOf(reason))
    return true
  }

  /** True when that was the primary: there is none now. */
  lost(upstream: UpstreamSession): boolean {
    if (upstream !== this.#current) return false
    this.#setCurrent(undefined)
    return true
  }

  /** Where somebody waits for a primary, or for events. */
  relinkIfWanted(): void {
    if (this.#held.waiting || this.#events.length > 0) this.relink()
  }

  /** Another primary; what waits for one goes on then. */
  relink(): void {
    if (this.#relinking || this.#state.closed) return
    this.#relinking = true
    settle(
      this.#session,
      'another primary sidecar',
      this.open(),
      () => {
        this.#relinking = false
        this.#held.letGo()
      },
      (reason: unknown) => {
        this.#relinking = false
        if (this.#current?.usable === true) {
          this.#staysUntilMicros = this.#state.services.nowMicros() + staysMicros
          this.#held.letGo()
          return
        }
        // A request hears nothing of log-ins.
        this.#held.failAll(reason instanceof LogInRefused ? new RingfenceError('UNAVAILABLE', reason.message) : reason)
        // Without a session there is nothing to register events with or to speak for the client: its driver opens another.
        this.#state.client.drain('no node of the cluster is reachable')
      },
    )
  }

  close(): void {
    this.#held.drop()
    this.#setCurrent(undefined)
  }

  /** As `ready`, for a request that has nobody to wait behind. */
  #next(nowMicros: number): UpstreamSession | undefined {
    return this.#held.waiting ? undefined : this.ready(nowMicros)
  }

  /** Within the client's share of this turn; where that is used up, it and those behind it wait for the next. */
  #serveHeld(request: Passing): void {
    const { share } = this.#state.statements
    if (!share.begin()) {
      this.#held.begin(request)
      share.later(contained(this.#session, 'requests that waited for a sidecar', () => this.#held.letGo()))
      return
    }
    this.#serving = request
    try {
      this.#serve(request)
    } finally {
      this.#serving = undefined
      share.end()
    }
  }

  #hold(request: Passing, nowMicros: number): void {
    if (this.ready(nowMicros) === undefined) this.relink()
    if (!this.#held.waiting && this.#serving === request) {
      this.#held.begin(request)
      return
    }
    if (!this.#held.waiting) this.#held.begin()
    this.#held.add(request)
  }

  #setCurrent(upstream: UpstreamSession | undefined): void {
    if (this.#current !== undefined) this.#current.sidecar.load.primaries--
    if (upstream !== undefined) upstream.sidecar.load.primaries++
    this.#current = upstream
  }
}

/** With the cause, where the sidecar does not believe what the client showed. */
function refusalOf({ code, message, cause, words }: Close): RingfenceError {
  if (cause !== undefined && isRefusalCause(cause))
    return new LogInRefused(cause, message, words === undefined ? {} : { words })
  return new RingfenceError(code === 'UNAUTHORIZED' ? 'UNAUTHORIZED' : 'UNAVAILABLE', message)
}
