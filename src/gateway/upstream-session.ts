/**
 * One client session at one sidecar: a numbered session on a mesh link, with the requests that are in flight there.
 *
 *   opening ──OPENED──▶ open ──its link drains, or another one replaces it──▶ leaving ──nothing in flight──▶ closed
 *      └───────────── CLOSE, or the link is lost ──────────┴─────────────────────┴──▶ closed
 */
import { type ByteAccount, overloaded, Verdict } from '../base/bytes-budget.ts'
import type { Envelope } from '../cql/envelope.ts'
import { CqlErrorCode } from '../cql/protocol.ts'
import type { SessionQueue } from '../link/fair-sender.ts'
import { type Close, Control, controlEnvelope, type Open } from '../link/protocol.ts'
import type { Client } from '../session/backend.ts'
import { StreamSet } from '../session/streams.ts'
import type { GatewayLink, LinkUser } from './link.ts'
import { type Passing, passing } from './passing.ts'
import type { RemoteSidecar } from './remote-sidecar.ts'

/** The stream of events: no request has it. */
const none = -1

export type UpstreamState = 'opening' | 'open' | 'leaving' | 'closed'

/** The client session, as its upstream sessions see it. */
export interface UpstreamHost {
  onUpstreamOpened(upstream: UpstreamSession): void
  /** It takes no new requests; it closes by itself. */
  onUpstreamDraining(upstream: UpstreamSession): void
  /** `upstream.paused` changed. */
  onUpstreamPaused(upstream: UpstreamSession): void
  onUpstreamFrame(upstream: UpstreamSession, frame: Passing): void
  /** `upstream.streamsInFlight` is what was sent and not answered. */
  onUpstreamClosed(upstream: UpstreamSession, reason: Close): void
}

export class UpstreamSession implements LinkUser {
  readonly sidecar: RemoteSidecar
  readonly link: GatewayLink
  /** In force at the sidecar's end; empty for none. */
  keyspace: string
  state: UpstreamState = 'opening'
  wasOpen = false
  /** The sidecar asks for no more requests of this session for now. */
  paused = false
  /** When a request last went by it: monotonic microseconds. */
  usedMicros = 0
  /** Requests that wait for their answer. Invariant: the sidecar's load counts them too, and those of `#ownStreams`. */
  readonly #streams = new StreamSet()
  /** The gateway's own requests, whose streams are below zero, by the complement. Few sessions have any. */
  #ownStreams: StreamSet | undefined
  /** The stream whose latency is taken. One at a time is enough, and needs no table. */
  #sampled = none
  #sampledAtMicros = 0
  readonly #host: UpstreamHost
  readonly #client: Client
  readonly #queue: SessionQueue
  /** The client does not read: the sidecar is to send nothing more. */
  #answersPaused = false

  constructor(sidecar: RemoteSidecar, link: GatewayLink, client: Client, host: UpstreamHost, open: Open) {
    this.sidecar = sidecar
    this.link = link
    this.keyspace = open.keyspace ?? ''
    this.#host = host
    this.#client = client
    this.#queue = link.openSession(this, open)
  }

  get account(): ByteAccount {
    return this.#client.account
  }

  get inFlight(): number {
    return this.#streams.count + (this.#ownStreams?.count ?? 0)
  }

  /** The streams of what the client has in flight, in ascending order. */
  get streamsInFlight(): readonly number[] {
    return this.#streams.ids()
  }

  /** Takes new requests. */
  get usable(): boolean {
    return this.state === 'open' && !this.link.draining && !this.link.closed
  }

  /** Throws OVERLOADED where it would have to wait and there is no room for that. */
  send({ bytes, start, end }: Envelope, stream: number, nowMicros: number): void {
    const { sender } = this.link
    if (sender.mustWait(this.#queue, end - start)) {
      this.#takeFor(end - start)
      sender.enqueue(this.#queue, bytes, start, end, stream)
    } else sender.write(this.#queue, bytes, start, end, stream)
    this.#sent(stream, nowMicros)
  }

  /** As `send`, with the answer to the request, which the sidecar gives if it permits it. Both leave, one behind the other, or neither. */
  sendGiven(answer: Buffer, { bytes, start, end }: Envelope, stream: number, nowMicros: number): void {
    const { sender } = this.link
    const given = controlEnvelope(Control.GIVEN, { answer: answer.toString('base64') })
    if (sender.mustWait(this.#queue, Math.max(given.length, end - start))) {
      this.#takeFor(given.length + end - start)
      sender.enqueue(this.#queue, given, 0, given.length, 0)
      sender.enqueue(this.#queue, bytes, start, end, stream)
    } else {
      sender.write(this.#queue, given, 0, given.length, 0)
      sender.write(this.#queue, bytes, start, end, stream)
    }
    this.#sent(stream, nowMicros)
  }

  #takeFor(bytes: number): void {
    const verdict = this.account.take(bytes)
    if (verdict === Verdict.REFUSE) throw overloaded()
    if (verdict === Verdict.PAUSE) this.#client.pause()
  }

  #sent(stream: number, nowMicros: number): void {
    if (stream >= 0) this.#streams.add(stream)
    else {
      this.#ownStreams ??= new StreamSet()
      this.#ownStreams.add(~stream)
    }
    this.usedMicros = nowMicros
    this.sidecar.load.sent(nowMicros)
    if (this.#sampled !== none) return
    this.#sampled = stream
    this.#sampledAtMicros = nowMicros
  }

  /** To be called for each answer. */
  answered(stream: number, nowMicros: number): void {
    if (stream >= 0) this.#streams.delete(stream)
    else this.#ownStreams?.delete(~stream)
    const { load } = this.sidecar
    load.heard(nowMicros)
    if (stream === this.#sampled) {
      this.#sampled = none
      load.sample(nowMicros - this.#sampledAtMicros, nowMicros)
    }
  }

  /** To be called for each answer that is an error: is it the sidecar's own, or the request's? */
  erred(code: number, nowMicros: number): void {
    const { load } = this.sidecar
    if (code === CqlErrorCode.SERVER_ERROR || code === CqlErrorCode.IS_BOOTSTRAPPING) load.failed(nowMicros)
    else load.succeeded()
  }

  /** No new requests; closed when the last is answered. */
  leave(): void {
    if (this.state === 'closed') return
    this.state = 'leaving'
    if (this.inFlight === 0) this.close()
  }

  /** At once; what is in flight will not be heard of. */
  close(): void {
    if (this.state === 'closed') return
    this.#end()
    this.link.closeSession(this.#queue)
  }

  /** The client takes no answers for now, or does again. */
  pauseAnswers(paused: boolean): void {
    if (this.#answersPaused === paused || this.state === 'closed') return
    this.#answersPaused = paused
    this.link.pauseAnswers(this.#queue.session, paused)
  }

  /** A fault of ours in one of these; others share the link. */
  onFault(): void {
    this.#client.close('internal error in the mesh')
  }

  onOpened(): void {
    if (this.state !== 'opening') return
    this.state = 'open'
    this.wasOpen = true
    this.#host.onUpstreamOpened(this)
  }

  onFrame(buffer: Buffer, start: number, end: number): void {
    const frame = passing(buffer, start, end)
    this.#host.onUpstreamFrame(this, frame)
    frame.over()
    if (this.state === 'leaving' && this.inFlight === 0) this.close()
  }

  onPaused(paused: boolean): void {
    if (this.paused === paused || this.state === 'closed') return
    this.paused = paused
    if (paused) this.link.sender.pause(this.#queue)
    else this.link.sender.resume(this.#queue)
    this.#host.onUpstreamPaused(this)
  }

  onClosed(reason: Close): void {
    if (this.state === 'closed') return
    this.#end()
    this.#host.onUpstreamClosed(this, reason)
  }

  onDraining(): void {
    if (this.state !== 'open') return
    this.#host.onUpstreamDraining(this)
    this.leave()
  }

  #end(): void {
    this.link.sender.drop(this.#queue)
    this.onPaused(false)
    this.state = 'closed'
    this.sidecar.load.forgotten(this.inFlight)
  }
}
