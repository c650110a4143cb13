/**
 * One connection to the Cassandra node, shared by sessions: TLS with the sidecar's own SVID, its handshake, and its stream table.
 *
 * Rule: nothing is written to the node but by `send`, which checks the permit of a client's request, of a question that is asked for one,
 * and of a question of the sidecar's own. A stream id is not given out again before its answer came or the connection died, whoever stopped
 * waiting for it: a late answer would be taken for another request's.
 */

import type { TLSSocket } from 'node:tls'
import { Verdict } from '../base/bytes-budget.ts'
import { after, contain, contained, containFault, every, nextTurn, nothingEnds, type Owner } from '../base/contained.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { transportLine } from '../base/transport-fault.ts'
import { Inbound } from '../cql/inbound.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { envelopeHeaderBytes, headerStream } from '../cql/protocol.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { Permit } from '../policy/engine.ts'
import { isOwnPermitFor, type OwnPermit, ownPermit } from '../policy/own-permit.ts'
import { Outbox } from '../session/outbox.ts'
import { connectToPeer } from '../session/peer-socket.ts'
import type { Turn } from '../session/turn.ts'
import type { Carrier, InFlight } from './in-flight.ts'
import { LongAnswers } from './long-answers.ts'
import { nodeHandshake, verifyNode } from './node-handshake.ts'
import { NodeShares } from './node-shares.ts'
import { wordsOf } from './own-words.ts'
import { Question } from './question.ts'

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

const streams = limits.upstreamStreamsMax
const sweepMs = 1000

export class Upstream implements Carrier, Owner {
  readonly version: ProtocolVersion
  readonly keyspace: string
  /** It is one more than there are to be, when the pool last looked; see `UpstreamPool.pick`. */
  isSpare = false
  /** By slot, which is the stream id. As long as the most that there ever were in flight. */
  readonly #requests: (InFlight | undefined)[] = []
  readonly #free = new Uint16Array(streams)
  #freeCount = 0
  #inFlight = 0
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
    this.#sweep = every(this, 'requests that take long', sweepMs, () => this.#timeouts())
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
    return this.#inFlight === streams
  }

  get inFlight(): number {
    return this.#inFlight
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
   * The only way to the node. A permit may be older than this call, so whether it still holds is looked at here. False when as many are in
   * flight as may be.
   */
  send(request: InFlight, nowMicros: number): boolean {
    const { permit } = request
    assert(permit !== undefined, 'what is sent has a permit')
    if (permit.kind === 'own')
      assert(isOwnPermitFor(permit, wordsOf(request.view())), 'an own permit is for one question')
    else assert(this.#options.inForce(permit), 'a permit is of the policy and the schema in force')
    const slot = this.#freeCount > 0 ? this.#free[--this.#freeCount]! : this.#requests.length
    if (slot === streams) return false
    this.#requests[slot] = request
    this.#inFlight++
    request.carrier = this
    request.slot = slot
    request.startedMicros = nowMicros
    this.#outbox.write(request.bytes, request.start, request.end, slot)
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
    const { slot } = request
    if (request.carrier !== this) return
    assert(this.#requests[slot] === request, 'a slot is released once')
    this.#requests[slot] = undefined
    request.unpin()
    request.giveBack()
    request.carrier = undefined
    this.#free[this.#freeCount++] = slot
    this.#inFlight--
    if (this.#state === 'retired' && this.#inFlight === 0) this.destroy('retired')
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
  ask(envelope: Buffer, permit: Permit | OwnPermit = ownPermit(wordsOf(envelope))): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const question = new Question(envelope, permit, resolve, reject)
      if (this.send(question, this.#options.turn.nowMicros())) return
      reject(new RingfenceError('OVERLOADED', 'upstreamStreamsMax reached'))
    })
  }

  /** Takes no more requests; closes when the last answer came. */
  retire(): void {
    if (this.#state === 'closed') return
    this.#state = 'retired'
    if (this.#inFlight === 0) this.destroy('retired')
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
    const request = this.#asked(slot)
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

  #asked(slot: number): InFlight {
    const request = this.#requests[slot]
    if (request === undefined) throw new RingfenceError('UPSTREAM', `an answer to stream ${slot}, which asked nothing`)
    if (request.kept) throw new RingfenceError('UPSTREAM', `a second answer to stream ${slot}`)
    return request
  }

  /** Part of `EnvelopeSink`: a large answer needs room in the account of whoever asked. Where there is none, only that request fails. */
  onLarge(buffer: Buffer, start: number, envelopeBytes: number): boolean {
    const slot = headerStream(buffer, start)
    const fits = envelopeBytes <= limits.answerBytesMax + envelopeHeaderBytes
    if (slot < 0) return fits
    const request = this.#asked(slot)
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
    if (slot >= 0) this.release(this.#asked(slot))
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
    if (this.#inFlight === 0) return
    const now = performance.now() * 1000
    const before = now - limits.requestTimeoutMs * 1000
    this.#shares.expire(before)
    const until = performance.now() + limits.loopShareMs
    let wanted = false
    for (const request of this.#requests) {
      if (request === undefined) continue
      if (request.abandoned) {
        // It has not answered for two time-outs, so it gets no more requests.
        if (request.startedMicros < before - limits.requestTimeoutMs * 1000) this.#state = 'retired'
        continue
      }
      if (request.startedMicros <= before) {
        this.#timeout(request)
        // Those that are told have no time left, so the next turn goes on behind them.
        if (performance.now() < until) continue
        nextTurn(this, 'requests that take long', () => this.#timeouts())
        return
      } else {
        wanted = true
        if (request.startedMicros < now - sweepMs * 1000) request.copyOut()
      }
    }
    if (this.#state === 'retired' && !wanted) this.destroy('its answers are not awaited any more')
  }

  #timeout(request: InFlight): void {
    try {
      request.onTimeout()
    } catch (reason) {
      containFault(request, 'a request that takes too long', reason)
      if (request.carrier === this && !request.abandoned) this.abandon(request)
    }
  }

  #onClose(): void {
    const was = this.#state
    this.#state = 'closed'
    clearInterval(this.#sweep)
    this.#outbox.close()
    if (this.#large !== undefined) this.#largeOver()
    this.#shares.letGo()
    const requests = this.#requests.splice(0)
    this.#inFlight = 0
    for (const request of requests) {
      if (request === undefined) continue
      contain(request, 'the end of a connection to the node', () => request.giveBack())
      request.carrier = undefined
    }
    const waiting = requests.filter((request) => request?.kept === false)
    // What is done with an answer that is here would go on meanwhile.
    for (const request of requests) if (request?.kept === true) this.#lose(request)
    this.#loseSome(waiting.values())
    if (was !== 'opening') this.#options.onClosed(this, this.#reason)
  }

  /** One session may have had tens of thousands in flight here. */
  #loseSome(left: Iterator<InFlight | undefined>): void {
    const until = performance.now() + limits.loopShareMs
    for (let next = left.next(); next.done !== true; next = left.next()) {
      this.#lose(next.value!)
      if (performance.now() < until) continue
      nextTurn(nothingEnds, 'the end of a connection to the node', () => this.#loseSome(left))
      return
    }
  }

  #lose(request: InFlight): void {
    if (request.abandoned) return
    contain(request, 'the end of a connection to the node', () => request.onLost(this.#reason))
  }
}

const nothing = Buffer.alloc(0)
