/**
 * One connection to the Cassandra node, shared by sessions: TLS with the sidecar's own SVID, its handshake, and its stream table.
 *
 * Rule: nothing is written to the node but by `send`, which looks at the permit: of a client's request, of a question that is asked for one, of
 * a question of the sidecar's own. A stream id is not given out again before its answer came or the connection died, whoever stopped waiting for it:
 * a late answer would be taken for another request's.
 */

import { constants } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { connect as connectTls } from 'node:tls'
import { Verdict } from '../base/bytes-budget.ts'
import { after, contain, contained, containFault, every, type Owner } from '../base/contained.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { transportLine } from '../base/transport-fault.ts'
import { authResponseEnvelope, queryEnvelope, startupEnvelope } from '../cql/encode.ts'
import { Inbound } from '../cql/inbound.ts'
import { keptMessage } from '../cql/kept-messages.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { envelopeHeaderBytes, headerOpcode, headerStream, Opcode } from '../cql/protocol.ts'
import { readAuthenticate, readError } from '../cql/responses.ts'
import { verifyPeer } from '../identity/certificate.ts'
import { trustDomainOf } from '../identity/spiffe.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { Permit } from '../policy/engine.ts'
import { isOwnPermitFor, type OwnPermit, ownPermit } from '../policy/own-permit.ts'
import { Outbox } from '../session/outbox.ts'
import { reusedReads } from '../session/reads.ts'
import type { Turn } from '../session/turn.ts'
import { type Carrier, InFlight } from './in-flight.ts'
import { wordsOf } from './own-words.ts'

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

interface Waiter {
  readonly resolve: () => void
  readonly reject: (reason: RingfenceError) => void
  readonly sinceMicros: number
}

const streams = limits.upstreamStreamsMax
const sweepMs = 1000

export class Upstream implements Carrier, Owner {
  readonly version: ProtocolVersion
  readonly keyspace: string
  /** By slot, which is the stream id. As long as the most that there ever were in flight. */
  readonly #requests: (InFlight | undefined)[] = []
  readonly #free = new Uint16Array(streams)
  #freeCount = 0
  #inFlight = 0
  /** Whose large answer comes in pieces, and what was taken for it. */
  #large: InFlight | undefined
  #largeBytes = 0
  /** Whose answers of more than `greedyBytes` come, or came a moment ago; until when that counts. */
  #greedy: object | undefined
  #greedyUntilMs = 0
  readonly #options: UpstreamOptions
  readonly #socket: TLSSocket
  readonly #inbound = new Inbound('responses', limits.answerBytesMax)
  readonly #outbox: Outbox
  readonly #sweep: NodeJS.Timeout
  #state: 'opening' | 'ready' | 'retired' | 'closed' = 'opening'
  /** What each identity has added since more waits than `upstreamHighWaterBytes`; emptied when the node has taken all. */
  readonly #shares = new Map<object, number>()
  #waiters: Waiter[] = []
  #switchFraming = false
  #reason = 'closed by the node'

  private constructor(options: UpstreamOptions) {
    this.#options = options
    this.version = options.version
    this.keyspace = options.keyspace
    const { credentials, target } = options
    this.#socket = connectTls({
      host: target.address,
      port: target.port,
      key: credentials.keyPem,
      cert: credentials.certificatePem,
      ca: credentials.bundlePem,
      minVersion: 'TLSv1.3',
      secureOptions: constants.SSL_OP_NO_TICKET,
      // The node is known by its SPIFFE id, read from the certificate's DER in `#verifyNode`, never by a host name.
      checkServerIdentity: () => undefined,
      ...reusedReads(contained(this, 'bytes of the node', (chunk: Buffer) => this.#onData(chunk))),
    })
    this.#socket.setNoDelay(true)
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
      await upstream.#handshake()
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

  /** Answers come one after the other, so that whoever asks here now waits for long ones of somebody else. */
  crowdedFor(who: object | undefined): boolean {
    return this.#greedy !== undefined && this.#greedy !== who && this.#isGreedyNow()
  }

  /** Long answers of `who` come here. */
  crowdedBy(who: object): boolean {
    return this.#greedy === who && this.#isGreedyNow()
  }

  #isGreedyNow(): boolean {
    if (performance.now() <= this.#greedyUntilMs) return true
    this.#greedy = undefined
    return false
  }

  /** Whether a request of `who` may be written now: what one identity sends is not to stand before what all others do. */
  mayWrite(who: object, bytes: number): boolean {
    if (this.#outbox.waitingBytes + bytes <= limits.upstreamHighWaterBytes) return true
    const before = this.#shares.get(who) ?? 0
    const fits = before === 0 || before + bytes <= limits.upstreamShareBytes
    // Whoever was refused waits in `room`, also where a smaller request would fit: else it would be let go and refused for ever.
    this.#shares.set(who, fits ? before + bytes : limits.upstreamShareBytes)
    return fits
  }

  /** Resolves when `who` may write again. Throws OVERLOADED where the node takes nothing for `requestTimeoutMs`. */
  room(who: object): Promise<void> {
    if ((this.#shares.get(who) ?? 0) < limits.upstreamShareBytes) return Promise.resolve()
    const sinceMicros = performance.now() * 1000
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject, sinceMicros }))
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
    unpin(request)
    giveBack(request)
    request.carrier = undefined
    this.#free[this.#freeCount++] = slot
    this.#inFlight--
    if (this.#state === 'retired' && this.#inFlight === 0) this.destroy('retired')
  }

  abandon(request: InFlight): void {
    request.abandoned = true
    unpin(request)
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
    const leaf = this.#socket.getPeerX509Certificate()
    const { credentials, target } = this.#options
    if (leaf === undefined) throw new RingfenceError('IDENTITY', 'the node showed no certificate')
    const trustDomain = trustDomainOf(credentials.spiffeId)
    const node = verifyPeer(leaf.raw, Date.now(), trustDomain)
    const expected = target.spiffeId ?? `spiffe://${trustDomain}/cassandra/`
    const matches = target.spiffeId === undefined ? node.spiffeId.startsWith(expected) : node.spiffeId === expected
    if (!matches) throw new RingfenceError('IDENTITY', `the node is ${node.spiffeId}, expected ${expected}`)
  }

  async #handshake(): Promise<void> {
    const { version } = this
    const options = new Map([
      ['CQL_VERSION', '3.0.0'],
      ['DRIVER_NAME', 'ringfence'],
    ])
    // What follows the answer to STARTUP is framed, in both directions (native_protocol_v5.spec §2).
    this.#switchFraming = version >= 5
    let answer = await this.ask(startupEnvelope(version, 0, options))
    if (headerOpcode(answer, 0) === Opcode.AUTHENTICATE) {
      const authenticator = readAuthenticate(answer, 0, answer.length)
      if (authenticator.endsWith('.PasswordAuthenticator')) {
        throw new RingfenceError(
          'UPSTREAM',
          'the node wants a password, where it should know the sidecar by its certificate',
          {
            hint: 'its authenticator must be MutualTlsAuthenticator, or MutualTlsWithPasswordFallbackAuthenticator while both are in use',
          },
        )
      }
      answer = await this.ask(authResponseEnvelope(version, 0, Buffer.alloc(0)))
    }
    const opcode = headerOpcode(answer, 0)
    if (opcode !== Opcode.READY && opcode !== Opcode.AUTH_SUCCESS) throw nodeError(answer)
    if (this.keyspace !== '') {
      const used = await this.ask(queryEnvelope(version, 0, `USE "${this.keyspace.replaceAll('"', '""')}"`, {}))
      if (headerOpcode(used, 0) !== Opcode.RESULT) throw nodeError(used)
    }
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
      // What the node may not send ends the connection, a fault of ours the one that it was for.
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

  /** Part of `EnvelopeSink`: an answer is kept while it comes only as far as its asker's account lets it; no other request suffers for it. */
  onLarge(buffer: Buffer, start: number, envelopeBytes: number): boolean {
    const slot = headerStream(buffer, start)
    const fits = envelopeBytes <= limits.answerBytesMax + envelopeHeaderBytes
    if (slot < 0) return fits
    const request = this.#asked(slot)
    if (request.abandoned) return false
    const { account } = request
    if (envelopeBytes > greedyBytes && account !== undefined) {
      this.#greedy = account.identity
      this.#greedyUntilMs = performance.now() + limits.requestTimeoutMs
    }
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
    this.#greedyUntilMs = performance.now() + greedyMs
    if (slot >= 0) this.release(this.#asked(slot))
  }

  /** From here on the answer counts where it goes. */
  #largeOver(): void {
    this.#greedyUntilMs = performance.now() + greedyMs
    this.#large?.account?.give(this.#largeBytes)
    this.#large = undefined
    this.#largeBytes = 0
  }

  #onDrain(): void {
    if (this.#outbox.hasLong) return
    this.#shares.clear()
    const waiters = this.#waiters
    this.#waiters = []
    for (const { resolve } of waiters) resolve()
  }

  #timeouts(): void {
    if (this.#inFlight === 0) return
    const now = performance.now() * 1000
    const before = now - limits.requestTimeoutMs * 1000
    while (this.#waiters.length > 0 && this.#waiters[0]!.sinceMicros < before) {
      this.#waiters.shift()!.reject(new RingfenceError('OVERLOADED', 'the node does not take requests now'))
    }
    let wanted = false
    for (const request of this.#requests) {
      if (request === undefined) continue
      if (request.abandoned) {
        // A connection that owes answers for so long gets no more requests.
        if (request.startedMicros < before - limits.requestTimeoutMs * 1000) this.#state = 'retired'
        continue
      }
      if (request.startedMicros <= before) this.#timeout(request)
      else {
        wanted = true
        if (request.startedMicros < now - sweepMs * 1000) copyOut(request)
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
    for (const { resolve } of this.#waiters) resolve()
    this.#waiters = []
    const requests = this.#requests.splice(0)
    this.#inFlight = 0
    for (const request of requests) {
      if (request === undefined) continue
      contain(request, 'the end of a connection to the node', () => giveBack(request))
      request.carrier = undefined
    }
    for (const request of requests) {
      if (request?.abandoned !== false) continue
      contain(request, 'the end of a connection to the node', () => request.onLost(this.#reason))
    }
    if (was !== 'opening') this.#options.onClosed(this, this.#reason)
  }
}

const nothing = Buffer.alloc(0)

/** Of an answer that others do not wait behind: it takes ten milliseconds and more to come. */
const greedyBytes = 1024 * 1024
/** Whoever asked for one is likely to have asked for more. */
const greedyMs = 2_000

/** Its bytes are needed no more. */
function unpin(request: InFlight): void {
  request.pin?.unpin()
  request.pin = undefined
  request.use(nothing, 0, 0)
}

/** What the request took is free when nothing of it waits here any more. */
function giveBack(request: InFlight): void {
  request.account?.give(request.bytesIn)
  request.account = undefined
  const { whenOver } = request
  request.whenOver = undefined
  whenOver?.()
}

/** A slow request is not to keep the whole slab that it was sent from. */
function copyOut(request: InFlight): void {
  if (request.pin === undefined) return
  const copy = Buffer.from(request.view())
  request.pin.unpin()
  request.pin = undefined
  request.use(copy, 0, copy.length)
}

/** A question of the sidecar's own, and who waits for the answer. */
class Question extends InFlight {
  readonly #resolve: (answer: Buffer) => void
  readonly #reject: (reason: RingfenceError) => void

  constructor(
    envelope: Buffer,
    permit: Permit | OwnPermit,
    resolve: (answer: Buffer) => void,
    reject: (reason: RingfenceError) => void,
  ) {
    super()
    this.use(envelope, 0, envelope.length)
    this.permit = permit
    this.#resolve = resolve
    this.#reject = reject
  }

  override onAnswer(buffer: Buffer, start: number, end: number): void {
    this.#resolve(Buffer.from(buffer.subarray(start, end)))
  }

  override onUnfit(): void {
    this.#reject(new RingfenceError('UPSTREAM', 'the answer of the node is larger than answerBytesMax'))
  }

  override onTimeout(): void {
    this.carrier?.abandon(this)
    this.#reject(new RingfenceError('UPSTREAM', 'the node did not answer in time'))
  }

  override onLost(reason: string): void {
    this.#reject(new RingfenceError('UPSTREAM', `connection to the node lost: ${reason}`))
  }

  override onFault(reason: unknown): void {
    this.#reject(new RingfenceError('UPSTREAM', 'a fault of our own', { cause: reason }))
  }

  override over(): void {}
}

/** An error that the node answered to a request of ours; `envelope` can be handed on to the client. */
export class NodeError extends RingfenceError {
  readonly envelope: Buffer

  constructor(message: string, envelope: Buffer) {
    super('UPSTREAM', message)
    this.envelope = envelope
  }
}

export function nodeError(envelope: Buffer): RingfenceError {
  if (headerOpcode(envelope, 0) !== Opcode.ERROR) {
    return new RingfenceError('UPSTREAM', `the node answered with opcode ${headerOpcode(envelope, 0)}`)
  }
  const { code, message } = readError(envelope, 0, envelope.length)
  // Its message comes into logs.
  return new NodeError(keptMessage(code, message), envelope)
}
