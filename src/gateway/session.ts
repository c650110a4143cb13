/**
 * A client's session as the gateway holds it. It has an upstream session at each sidecar that it has had a reason to ask; one of these sidecars
 * is its primary. A request about one row goes to a replica of it; PREPARE, USE, REGISTER and what cannot be routed go to the primary.
 *
 *   request ─▶ topology-answers.ts (system.local, …) ─▶ request-routes.ts: by which upstream session?
 *                                                         ├▶ hedge.ts           a read that two replicas may be asked for
 *                                                         ├▶ first-prepare.ts   the sidecar does not have the statement yet
 *                                                         └▶ primary.ts         waits there while there is no sidecar
 *   answer ◀─ learn.ts (what PREPARED tells) ◀─ upstream-session.ts ─▶ loss.ts (what is lost when it closes)
 *
 * Rule: what was sent and not answered is never sent again. What was not sent yet may wait and go elsewhere.
 */
import { contained, type Owner, settle } from '../base/contained.ts'
import { copyOf, wholeEnvelope } from '../cql/envelope.ts'
import {
  CqlErrorCode,
  envelopeHeaderBytes,
  Flag,
  headerFlags,
  headerStream,
  Opcode,
  type ProtocolVersion,
  ResultKind,
} from '../cql/protocol.ts'
import { readRegister } from '../cql/requests.ts'
import { bodyStart, errorCode, readSetKeyspace } from '../cql/responses.ts'
import type { Close } from '../link/protocol.ts'
import type { Backend, Client, StartupInfo } from '../session/backend.ts'
import type { LoopShare } from '../session/loop-share.ts'
import { FirstPrepare } from './first-prepare.ts'
import { Learning } from './learn.ts'
import { lossOf, outcomeUnknown } from './loss.ts'
import { type Passing, passing } from './passing.ts'
import { Primary } from './primary.ts'
import { RequestRoutes } from './request-routes.ts'
import { eventStream, type SessionServices, SessionState } from './session-state.ts'
import { eventForClient } from './topology/events.ts'
import type { Asking } from './topology-answers.ts'
import { TracedClient } from './traced-client.ts'
import { leaveUntraced, TracedRequests } from './traced-requests.ts'
import type { UpstreamHost, UpstreamSession } from './upstream-session.ts'

export class ClientSession implements Backend, UpstreamHost, Owner, Asking {
  readonly client: Client
  readonly version: ProtocolVersion
  readonly #state: SessionState
  readonly #primary: Primary
  readonly #firstPrepare: FirstPrepare
  readonly #learning: Learning
  readonly #routes: RequestRoutes
  readonly #onClosed: (session: ClientSession) => void
  /** Upstream sessions by which no more requests should go for now. */
  #upstreamsPaused = 0

  constructor(
    client: Client,
    startup: StartupInfo,
    services: SessionServices,
    onClosed: (session: ClientSession) => void,
  ) {
    const { traces } = services
    const traced = traces && new TracedRequests(traces, client, startup)
    this.client = traced === undefined ? client : new TracedClient(client, traced)
    this.#onClosed = onClosed
    this.#state = new SessionState(this.client, startup, services, this, traced)
    const { version } = startup
    this.version = version
    this.#firstPrepare = new FirstPrepare({ account: client.account, version, nowMicros: services.nowMicros })
    this.#learning = new Learning(this.#state)
    this.#primary = new Primary(this.#state, this, (request) => this.#again(request))
    this.#routes = new RequestRoutes(this.#state, this.#primary, this.#firstPrepare, this.#learning)
  }

  /** Part of `Asking`: in force. */
  get keyspace(): string {
    return this.#state.keyspace
  }

  /** Part of `Asking`. */
  get oneHost(): boolean {
    return this.#state.startup.oneHost === true
  }

  /** Part of `Asking`. */
  get share(): LoopShare {
    return this.#state.statements.share
  }

  /** Resolves when a sidecar has taken the session. Throws `UNAVAILABLE` or what the sidecar said. */
  open(): Promise<void> {
    return this.#primary.open()
  }

  request(buffer: Buffer, start: number, end: number): void {
    const request = passing(buffer, start, end)
    const { traced } = this.#state
    if (traced === undefined) {
      if ((headerFlags(buffer, start) & Flag.CUSTOM_PAYLOAD) !== 0) leaveUntraced(request)
      this.#serve(request)
    } else this.#serveTraced(request, traced)
    request.over()
  }

  #serveTraced(request: Passing, traced: TracedRequests): void {
    const { stream } = request
    const changed = traced.begin(request)
    if (changed !== undefined) request.arrive(changed, 0, changed.length)
    try {
      this.#serve(request)
    } catch (reason) {
      traced.failed(stream, reason)
      throw reason
    }
  }

  #serve(request: Passing): void {
    if (!this.#aboutTopology(request)) this.#routes.send(request)
  }

  close(): void {
    const state = this.#state
    if (state.closed) return
    state.closed = true
    state.traced?.close()
    state.services.topology.forget(this.client)
    this.#primary.close()
    state.upstreams.close()
    this.#firstPrepare.close()
    this.#routes.hedger?.close()
    state.services.router.statements.close(state.statements)
    this.#onClosed(this)
  }

  /** A fault of ours, which ends the session. */
  onFault(): void {
    this.client.close('internal error in the mesh')
  }

  pauseAnswers(paused: boolean): void {
    this.#state.upstreams.pauseAnswers(paused)
  }

  /** Called now and then. */
  giveUpIdle(): void {
    this.#state.upstreams.giveUpIdle(this.#primary.current)
  }

  /** A request that was not sent yet. */
  #again(request: Passing): void {
    if (this.#state.closed) return
    const { stream } = request
    try {
      this.#serve(request)
      request.over()
    } catch (reason) {
      this.client.fault(reason, stream)
    }
  }

  /** REGISTER is remembered for the next primary; what is asked of the virtual topology goes to the primary with its answer. */
  #aboutTopology(request: Passing): boolean {
    const { topology } = this.#state.services
    if (request.opcode === Opcode.REGISTER) {
      this.#primary.register(readRegister(request, this.version))
      if (!this.oneHost) topology.register(this.client, this.version, this.#primary.events)
      return false
    }
    return topology.request(this, request)
  }

  /** The answer to a request is known here: the sidecar judges the request, and gives this answer if it permits it. */
  readonly give = (asked: Buffer, answer: Buffer): void => {
    if (this.#state.closed) return
    const request = passing(asked, 0, asked.length)
    const { stream } = request
    try {
      this.#primary.sendGiven(answer, request)
      request.over()
    } catch (reason) {
      this.client.fault(reason, stream)
    }
  }

  // --- what comes back

  onUpstreamOpened(upstream: UpstreamSession): void {
    this.#primary.onOpened(upstream)
  }

  onUpstreamDraining(upstream: UpstreamSession): void {
    this.#primary.onDraining(upstream)
  }

  onUpstreamPaused(upstream: UpstreamSession): void {
    const before = this.#upstreamsPaused
    this.#upstreamsPaused += upstream.paused ? 1 : -1
    if ((before === 0) !== (this.#upstreamsPaused === 0)) this.client.halt(this.#upstreamsPaused > 0)
  }

  onUpstreamFrame(upstream: UpstreamSession, frame: Passing): void {
    const { stream } = frame
    if (stream === eventStream) {
      if (upstream === this.#primary.current && eventForClient(frame) !== undefined)
        this.client.event(frame.bytes, frame.start, frame.end)
      return
    }
    upstream.answered(stream, this.#state.services.nowMicros())
    if (this.#firstPrepare.size > 0 && this.#firstPrepare.has(stream)) this.#prepared(frame)
    else if (stream < eventStream) this.#routes.hedger?.onAnswer(upstream, frame)
    else this.#answered(upstream, frame)
  }

  #answered(upstream: UpstreamSession, answer: Passing): void {
    const { stream, opcode } = answer
    let kind = 0
    if (opcode === Opcode.RESULT) kind = this.#onResult(upstream, answer)
    else if (opcode === Opcode.ERROR) this.#onError(upstream, answer)
    this.#learning.over(stream)
    this.#state.streamOver(stream)
    if (kind === ResultKind.SCHEMA_CHANGE) this.#answerWhenAgreed(copyOf(answer), stream)
    else this.client.answer(answer.bytes, answer.start, answer.end, stream)
  }

  /** What the client asks next may go to another node, which is to know the new schema by then. */
  #answerWhenAgreed(answer: Buffer, stream: number): void {
    settle(this, 'schema agreement', this.#state.services.topology.schemaAgreed(), () => {
      if (!this.#state.closed) this.client.answer(answer, 0, answer.length, stream)
    })
  }

  /** The result's kind. */
  #onResult(upstream: UpstreamSession, answer: Passing): number {
    const { bytes, start } = answer
    upstream.sidecar.load.succeeded()
    const at = headerFlags(bytes, start) === 0 ? start + envelopeHeaderBytes : bodyStart(answer)
    const kind = bytes.readInt32BE(at)
    if (kind === ResultKind.SET_KEYSPACE) {
      upstream.keyspace = readSetKeyspace(answer)
      this.#state.keyspace = upstream.keyspace
    } else if (kind === ResultKind.PREPARED) this.#learning.prepared(upstream, answer)
    return kind
  }

  #onError(upstream: UpstreamSession, answer: Passing): void {
    const code = errorCode(answer)
    upstream.erred(code, this.#state.services.nowMicros())
    if (code === CqlErrorCode.UNPREPARED) this.#learning.unprepared(upstream, answer)
  }

  /** An answer to a PREPARE that was sent before a request. */
  #prepared(answer: Passing): void {
    const { stream } = answer
    try {
      const outcome = this.#firstPrepare.answered(answer)
      if (outcome === undefined) return
      const { upstream, request, ready } = outcome
      if (stream < eventStream) this.#routes.hedger?.onPrepared(stream, outcome)
      else if (ready && upstream.usable) upstream.send(wholeEnvelope(request), stream, this.#state.services.nowMicros())
      else if (ready || upstream !== this.#primary.current) this.#again(passing(request, 0, request.length))
      else this.client.answer(answer.bytes, answer.start, answer.end, stream)
    } catch (reason) {
      // The link is everybody's: what is wrong with one request must not end it.
      this.#firstPrepare.drop(stream)
      this.client.fault(reason, stream)
    }
  }

  onUpstreamClosed(upstream: UpstreamSession, reason: Close): void {
    const { upstreams, closed } = this.#state
    upstreams.gone(upstream)
    if (this.#primary.refused(upstream, reason)) return
    const wasPrimary = this.#primary.lost(upstream)
    if (closed || !upstream.wasOpen) return
    // Copies of hedged reads are the hedger's to give up.
    const unsent = this.#firstPrepare.lost(upstream).filter((request) => headerStream(request, 0) >= 0)
    const alone = upstreams.find(() => true) === undefined
    const { endsClient, lost } = lossOf({ reason, inFlight: upstream.streamsInFlight, unsent, alone })
    if (endsClient) {
      this.client.close(reason.message)
      return
    }
    this.#loseAll(lost, reason.message)
    this.#routes.hedger?.onClosed(upstream, reason.message)
    for (const request of unsent) this.#again(passing(request, 0, request.length))
    if (wasPrimary) this.#primary.relinkIfWanted()
  }

  /** There may be tens of thousands: within the client's share of each turn. */
  #loseAll(lost: readonly number[], reason: string): void {
    const { share } = this.#state.statements
    for (const [at, stream] of lost.entries()) {
      if (this.#state.closed) return
      if (!share.begin()) {
        share.later(contained(this, 'requests that were lost', () => this.#loseAll(lost.slice(at), reason)))
        return
      }
      this.#lose(stream, reason)
      share.end()
    }
  }

  #lose(stream: number, reason: string): void {
    this.#state.streamOver(stream)
    this.#learning.over(stream)
    this.client.fault(outcomeUnknown(reason), stream)
  }
}
