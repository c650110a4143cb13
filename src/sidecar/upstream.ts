/**
 * One connection to the Cassandra node, shared by sessions: TLS with the sidecar's own SVID, its handshake, what goes and what comes.
 * `slots.ts` has what is in flight, `overdue.ts` what takes too long, `losses.ts` what is lost when it ends.
 *
 * Rule: nothing is written to the node but by `send`: one envelope at a time, whose permit is checked there. That holds for a client's
 * request, for a question that is asked for one, and for a question of the sidecar's own.
 */

import type { TLSSocket } from 'node:tls'
import { Verdict } from '../base/bytes-budget.ts'
import { after, contain, contained, containFault, every, type Owner } from '../base/contained.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { transportLine } from '../base/transport-fault.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { Inbound } from '../cql/inbound.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { envelopeHeaderBytes, headerBodyBytes, headerStream } from '../cql/protocol.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { Permit } from '../policy/engine.ts'
import { isOwnPermitFor, type OwnPermit, ownPermit } from '../policy/own-permit.ts'
import { Outbox } from '../session/outbox.ts'
import { connectToPeer } from '../session/peer-socket.ts'
import type { Turn } from '../session/turn.ts'
import type { Carrier, InFlight } from './in-flight.ts'
import { LongAnswers } from './long-answers.ts'
import { tellLost } from './losses.ts'
import { nodeHandshake, useKeyspace, verifyNode } from './node-handshake.ts'
import { NodeShares } from './node-shares.ts'
import { overdueLookMs, tellOverdue } from './overdue.ts'
import { wordsOf } from './own-words.ts'
import { Question } from './question.ts'
import { Slots } from './slots.ts'

export interface UpstreamTarget {
  readonly address: string
  readonly port: number
  /** What the node's certificate must say, where it is configured. */
  readonly spiffeId: string | undefined
}

export interface UpstreamOptions {
  readonly target: UpstreamTarget
  readonly credentials: Credentials
  readonly version: ProtocolVersion
  /** Empty for none. */
  readonly keyspace: string
  readonly turn: Turn
  /** Whether a permit is of the policy and the schema in force. */
  readonly inForce: (permit: Permit) => boolean
  readonly onEvent?: (buffer: Buffer, start: number, end: number) => void
  readonly onClosed: (upstream: Upstream, reason: string) => void
}

export class Upstream implements Carrier, Owner {
  readonly version: ProtocolVersion
  readonly keyspace: string
  /** It is one more than there are to be, when the pool last looked; see `UpstreamPool.pick`. */
  isSpare = false
  readonly #slots = new Slots()
  /** Whose large answer comes in pieces, and what was taken for it. */
  #large: InFlight | undefined
  #largeBytes = 0
  readonly #longAnswers = new LongAnswers()
  readonly #options: UpstreamOptions
  readonly #socket: TLSSocket
  readonly #inbound = new Inbound('responses', limits.answerBytesMax)
  readonly #outbox: Outbox
  readonly #sweep: NodeJS.Timeout
  #state: 'opening' | 'ready' | 'retired' | 'closed' = 'opening'
  readonly #shares = new NodeShares()
  #switchFraming = false
  #reason = 'closed by the node'

  private constructor(options: UpstreamOptions) {
    this.#options = options
    this.version = options.version
    this.keyspace = options.keyspace
    const { credentials, target } = options
    this.#socket = connectToPeer(
      target,
      credentials,
      contained(this, 'bytes of the node', (chunk: Buffer) => this.#onData(chunk)),
    )
    this.#socket.setKeepAlive(true, 10_000)
    this.#outbox = new Outbox(this.#socket, options.turn, {
      shared: true,
      requests: true,
      onLongOver: () => this.#onDrain(),
    })
    this.#inbound.expectVersion(options.version)
    this.#socket.on('error', (error) => {
      this.#reason = transportLine('it', error)
    })
    this.#socket.on(
      'drain',
      contained(this, 'a node that took its bytes', () => this.#onDrain()),
    )
    this.#socket.on(
      'close',
      contained(this, 'the end of a connection to the node', () => this.#onClose()),
    )
    this.#sweep = every(this, 'requests that take long', overdueLookMs, () => this.#timeouts())
    this.#sweep.unref()
  }

  /** Connects and does the handshake. Throws `UPSTREAM`, or what the node says of the keyspace as `NodeError`. */
  static async open(options: UpstreamOptions): Promise<Upstream> {
    const upstream = new Upstream(options)
    const timer = after(upstream, 'a handshake', limits.handshakeTimeoutMs, () =>
      upstream.destroy('handshakeTimeoutMs passed'),
    )
    try {
      await upstream.#secured()
      // What follows the answer to STARTUP is framed, in both directions (native_protocol_v5.spec §2).
      upstream.#switchFraming = upstream.version >= 5
      await nodeHandshake(upstream)
      clearTimeout(timer)
      await useKeyspace(upstream)
      upstream.#state = 'ready'
      return upstream
    } catch (reason) {
      upstream.destroy(reason instanceof Error ? reason.message : String(reason))
      throw reason
    } finally {
      clearTimeout(timer)
    }
  }

  get usable(): boolean {
    return this.#state === 'ready'
  }

  /** No more can be asked on it now. */
  get full(): boolean {
    return this.#slots.full
  }

  get inFlight(): number {
    return this.#slots.taken
  }

  /** See `LongAnswers`. */
  crowdedFor(who: object | undefined): boolean {
    return this.#longAnswers.crowdedFor(who)
  }

  /** See `LongAnswers`. */
  crowdedBy(who: object): boolean {
    return this.#longAnswers.crowdedBy(who)
  }

  /** See `NodeShares`. */
  mayWrite(who: object, bytes: number): boolean {
    return this.#shares.mayWrite(who, bytes, this.#outbox.waitingBytes)
  }

  /** See `NodeShares`. */
  room(who: object): Promise<void> {
    return this.#shares.room(who)
  }

  /**
   * The only way to the node. A permit may be older than this call, so whether it still holds is looked at here. What is looked at is what is
   * written. False when as many are in flight as may be.
   */
  send(request: InFlight, nowMicros: number): boolean {
    const { permit, bytes, start, end } = request
    assert(permit !== undefined, 'what is sent has a permit')
    assert(headerBodyBytes(bytes, start) === end - start - envelopeHeaderBytes, 'what is sent is one envelope')
    if (permit.kind === 'own')
      assert(isOwnPermitFor(permit, wordsOf({ bytes, start, end })), 'an own permit is for one question')
    else assert(this.#options.inForce(permit), 'a permit is of the policy and the schema in force')
    const slot = this.#slots.take(request)
    if (slot < 0) return false
    request.carrier = this
    request.slot = slot
    request.begin(nowMicros)
    this.#outbox.write(bytes, start, end, slot)
    if (request.remembered) {
      const slab = this.#outbox.lastSlab
      slab.pin()
      request.pin = slab
      request.use(slab.bytes, this.#outbox.lastAt, this.#outbox.lastAt + this.#outbox.lastBytes)
    } else request.use(nothing, 0, 0)
    return true
  }

  keep(request: InFlight): void {
    request.kept = true
  }

  /** Nothing where the connection was lost meanwhile. */
  release(request: InFlight): void {
    if (request.carrier !== this) return
    this.#slots.give(request)
    request.unpin()
    request.giveBack()
    request.carrier = undefined
    if (this.#state === 'retired' && this.#slots.taken === 0) this.destroy('retired')
  }

  abandon(request: InFlight): void {
    request.abandoned = true
    request.unpin()
    if (request !== this.#large) return
    this.#inbound.drop()
    this.#largeOver()
  }

  /**
   * A question of the sidecar's own: by a permit of the client for which it asks, or without one only what `own-permit.ts` lists. The answer is
   * a copy. Throws `UPSTREAM` on loss and timeout.
   */
  ask(envelope: Buffer, permit: Permit | OwnPermit = ownPermit(wordsOf(wholeEnvelope(envelope)))): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#state === 'closed') {
        reject(new RingfenceError('UPSTREAM', `connection to the node lost: ${this.#reason}`))
        return
      }
      const question = new Question(envelope, permit, resolve, reject)
      if (this.send(question, this.#options.turn.nowMicros())) return
      reject(new RingfenceError('OVERLOADED', 'upstreamStreamsMax reached'))
    })
  }

  /** Takes no more requests; closes when the last answer came. */
  retire(): void {
    if (this.#state === 'closed') return
    this.#state = 'retired'
    if (this.#slots.taken === 0) this.destroy('retired')
  }

  /** Nobody waits for an answer of it any more. */
  unawaited(): void {
    if (this.#state === 'retired') this.destroy('its answers are not awaited any more')
  }

  /** Part of `Owner`. */
  onFault(): void {
    this.destroy('a fault of our own')
  }

  destroy(reason: string): void {
    this.#reason = reason
    this.#socket.destroy()
  }

  async #secured(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#socket.once('secureConnect', resolve)
      this.#socket.once('close', () => reject(new RingfenceError('UPSTREAM', `cannot reach the node: ${this.#reason}`)))
    })
    verifyNode(this.#socket, this.#options.credentials.spiffeId, this.#options.target.spiffeId)
  }

  #onData(chunk: Buffer): void {
    try {
      this.#inbound.push(chunk, this)
    } catch (reason) {
      if (reason instanceof RingfenceError) this.destroy(`the node sent what may not be: ${reason.message}`)
      else containFault(this, 'bytes of the node', reason)
    }
  }

  /** Part of `EnvelopeSink`. */
  onEnvelope(buffer: Buffer, start: number, end: number): void {
    const slot = headerStream(buffer, start)
    if (slot < 0) {
      this.#options.onEvent?.(buffer, start, end)
      return
    }
    const request = this.#slots.asked(slot)
    if (this.#switchFraming) {
      this.#switchFraming = false
      this.#inbound.useSegments('none')
      this.#outbox.use('segments')
    }
    if (request === this.#large) this.#largeOver()
    if (request.abandoned) {
      this.release(request)
      return
    }
    try {
      request.onAnswer(buffer, start, end)
    } catch (reason) {
      // Invalid bytes of the node end the connection. A fault of ours ends only the session whose answer this was.
      if (reason instanceof RingfenceError) throw reason
      containFault(request, 'an answer of the node', reason)
      if (!request.kept) this.release(request)
      return
    }
    if (request.kept) return
    this.release(request)
    request.over()
  }

  /** Part of `EnvelopeSink`: a large answer needs room in the account of whoever asked. Where there is none, only that request fails. */
  onLarge(buffer: Buffer, start: number, envelopeBytes: number): boolean {
    const slot = headerStream(buffer, start)
    const fits = envelopeBytes <= limits.answerBytesMax + envelopeHeaderBytes
    if (slot < 0) return fits
    const request = this.#slots.asked(slot)
    if (request.abandoned) return false
    const { account } = request
    if (account !== undefined) this.#longAnswers.begin(account.identity, envelopeBytes)
    if (fits && (account === undefined || account.take(envelopeBytes) !== Verdict.REFUSE)) {
      this.#large = request
      this.#largeBytes = account === undefined ? 0 : envelopeBytes
      return true
    }
    contain(request, 'an answer that is too large', () => request.onUnfit(envelopeBytes))
    this.abandon(request)
    return false
  }

  /** Part of `EnvelopeSink`. */
  onDropped(slot: number): void {
    this.#longAnswers.end()
    if (slot >= 0) this.release(this.#slots.asked(slot))
  }

  /** The answer is whole: from now on it counts in the client's outbox. */
  #largeOver(): void {
    this.#longAnswers.end()
    this.#large?.account?.give(this.#largeBytes)
    this.#large = undefined
    this.#largeBytes = 0
  }

  #onDrain(): void {
    if (this.#outbox.hasLong) return
    this.#shares.drained()
  }

  #timeouts(): void {
    if (this.#slots.taken === 0) return
    this.#shares.expire(performance.now() * 1000 - limits.requestTimeoutMs * 1000)
    tellOverdue(this.#slots, this)
  }

  #onClose(): void {
    const was = this.#state
    this.#state = 'closed'
    clearInterval(this.#sweep)
    this.#outbox.close()
    if (this.#large !== undefined) this.#largeOver()
    this.#shares.letGo()
    tellLost(this.#slots.takeAll(), this.#reason)
    if (was !== 'opening') this.#options.onClosed(this, this.#reason)
  }
}

const nothing = Buffer.alloc(0)
