/**
 * One connection to the Cassandra node, shared by sessions: TLS with the sidecar's own SVID, its handshake, and its stream table.
 *
 * Rule: what a client asked is sent by `forward` only, under a permit in force; `ask` is for questions that are the sidecar's own, which hold
 * nothing of a client's. A stream id is not given out again before its answer came or the connection died, whoever stopped waiting for it
 * (data-access trap 37). The table is an array for each field, so that a request makes no object.
 */
import { constants } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { connect as connectTls } from 'node:tls'
import { type ByteAccount, Verdict } from '../base/bytes-budget.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { transportLine } from '../base/transport-fault.ts'
import { authResponseEnvelope, queryEnvelope, startupEnvelope } from '../cql/encode.ts'
import { Inbound } from '../cql/inbound.ts'
import { keptMessage } from '../cql/kept-messages.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { HEADER_BYTES, headerOpcode, headerStream, Opcode } from '../cql/protocol.ts'
import { readAuthenticate, readError } from '../cql/responses.ts'
import { verifyPeer } from '../identity/certificate.ts'
import { trustDomainOf } from '../identity/spiffe.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { Permit } from '../policy/engine.ts'
import { Outbox } from '../session/outbox.ts'
import { reusedReads } from '../session/reads.ts'
import type { Slab } from '../session/slab.ts'
import type { Turn } from '../session/turn.ts'
import type { Judged } from './judged.ts'

/** Whoever waits for answers. `slot` is the upstream stream id; the tables of `Upstream` say the rest about it. */
export interface Owner {
  /** May call `keep(slot)` to hold on to the slot; otherwise it is free after the call. */
  onAnswer(upstream: Upstream, slot: number, buffer: Buffer, start: number, end: number): void
  /** The node's answer is larger than may be kept for whoever asked: it is dropped as it comes, and the slot stays taken until it has. */
  onUnfit(upstream: Upstream, slot: number, answerBytes: number): void
  /** The node did not answer in time. The slot stays taken until it does. */
  onTimeout(upstream: Upstream, slot: number): void
  /** The connection died; whether the node acted is unknown. */
  onLost(upstream: Upstream, slot: number): void
}

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

const STREAMS = limits.upstreamStreamsMax
const SWEEP_MS = 1000

export class Upstream {
  readonly version: ProtocolVersion
  readonly keyspace: string
  /** Tables by slot, readable by the owner of the slot. */
  readonly clientStream = new Int16Array(STREAMS)
  readonly startedMicros = new Float64Array(STREAMS)
  readonly bytesIn = new Int32Array(STREAMS)
  /** The request's opcode. */
  readonly opcode = new Uint8Array(STREAMS)
  readonly consistency = new Uint8Array(STREAMS)
  /** Whose the request's bytes are, and a large answer's; `bytesIn` were taken from it when the request was sent. */
  readonly account: (ByteAccount | undefined)[] = []
  readonly judged: (Judged | undefined)[] = []
  readonly permit: (Permit | undefined)[] = []
  /** The request's bytes as they lie in a slab, where they may be needed again. */
  readonly requestSlab: (Buffer | undefined)[] = []
  readonly requestAt = new Int32Array(STREAMS)
  readonly requestBytes = new Int32Array(STREAMS)

  readonly #pins: (Slab | undefined)[] = []
  readonly #owners: (Owner | undefined)[] = []
  readonly #free = new Uint16Array(STREAMS)
  #freeCount = 0
  #slotsEver = 0
  #inFlight = 0
  #kept = -1
  /** The slot of a large answer that comes in pieces, and what was taken for it; −1 while there is none. */
  #largeSlot = -1
  #largeBytes = 0
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
      ...reusedReads((chunk) => this.#onData(chunk)),
    })
    this.#socket.setNoDelay(true)
    this.#socket.setKeepAlive(true, 10_000)
    this.#outbox = new Outbox(this.#socket, options.turn, { shared: true, requests: true })
    this.#inbound.expectVersion(options.version)
    this.#socket.on('error', (error) => {
      this.#reason = transportLine('it', error)
    })
    this.#socket.on('drain', () => this.#onDrain())
    this.#socket.on('close', () => this.#onClose())
    this.#sweep = setInterval(() => this.#timeouts(), SWEEP_MS)
    this.#sweep.unref()
  }

  /** Connects and does the handshake. Throws `UPSTREAM`, or what the node says of the keyspace as `NodeError`. */
  static async open(options: UpstreamOptions): Promise<Upstream> {
    const upstream = new Upstream(options)
    const timer = setTimeout(() => upstream.destroy('handshakeTimeoutMs passed'), limits.handshakeTimeoutMs)
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
    return this.#inFlight === STREAMS
  }

  get inFlight(): number {
    return this.#inFlight
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

  /** A free slot with its tables cleared, or −1 when the bound is reached. */
  take(owner: Owner): number {
    let slot: number
    if (this.#freeCount > 0) slot = this.#free[--this.#freeCount]!
    else if (this.#slotsEver < STREAMS) slot = this.#slotsEver++
    else return -1
    this.#owners[slot] = owner
    this.requestSlab[slot] = undefined
    this.#inFlight++
    return slot
  }

  /**
   * Sends a client's request, `buffer[start..end)`, under `slot`, and remembers where its bytes lie when `remember` is set. The only way by
   * which one reaches the node: the decision may be older than this call, so whether it still stands is looked at here.
   */
  forward(
    slot: number,
    permit: Permit,
    buffer: Buffer,
    start: number,
    end: number,
    nowMicros: number,
    remember: boolean,
  ): void {
    assert(this.#options.inForce(permit), 'what is forwarded has a permit of the policy and the schema in force')
    this.permit[slot] = permit
    this.#send(slot, buffer, start, end, nowMicros, remember)
  }

  #send(slot: number, buffer: Buffer, start: number, end: number, nowMicros: number, remember: boolean): void {
    this.startedMicros[slot] = nowMicros
    this.#outbox.write(buffer, start, end, slot)
    if (remember) {
      const slab = this.#outbox.lastSlab
      slab.pin()
      this.#pins[slot] = slab
      this.requestSlab[slot] = slab.bytes
      this.requestAt[slot] = this.#outbox.lastAt
      this.requestBytes[slot] = this.#outbox.lastBytes
    }
  }

  /** Who waits under a slot; undefined when it is free. */
  ownerOf(slot: number): Owner | undefined {
    return this.#owners[slot]
  }

  /** Called within `onAnswer`: the request under the slot goes on. */
  keep(slot: number): void {
    this.#kept = slot
  }

  /** Gives a slot back that was kept or never sent. */
  release(slot: number): void {
    assert(this.#owners[slot] !== undefined, 'a slot is released once')
    this.#owners[slot] = undefined
    this.judged[slot] = undefined
    this.permit[slot] = undefined
    this.#unpin(slot)
    this.#giveBack(slot)
    this.#free[this.#freeCount++] = slot
    this.#inFlight--
    if (this.#state === 'retired' && this.#inFlight === 0) this.destroy('retired')
  }

  /** Nobody waits for the slot any more; it stays taken until the node's answer came, which is then dropped. */
  abandon(slot: number): void {
    this.#owners[slot] = nobody
    this.#unpin(slot)
    if (slot !== this.#largeSlot) return
    this.#inbound.drop()
    this.#largeOver()
  }

  #unpin(slot: number): void {
    this.requestSlab[slot] = undefined
    this.#pins[slot]?.unpin()
    this.#pins[slot] = undefined
  }

  /** What the request took is free when nothing of it waits here any more. */
  #giveBack(slot: number): void {
    this.account[slot]?.give(this.bytesIn[slot]!)
    this.account[slot] = undefined
  }

  /** A question of the sidecar's own: about the node, its schema or its ring. The answer is a copy. Throws `UPSTREAM` on loss and timeout. */
  ask(envelope: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const slot = this.take({
        onAnswer: (_upstream, _slot, buffer, start, end) => resolve(Buffer.from(buffer.subarray(start, end))),
        onUnfit: () => reject(new RingfenceError('UPSTREAM', 'the answer of the node is larger than answerBytesMax')),
        onTimeout: (_upstream, own) => {
          this.abandon(own)
          reject(new RingfenceError('UPSTREAM', 'the node did not answer in time'))
        },
        onLost: () => reject(new RingfenceError('UPSTREAM', `connection to the node lost: ${this.#reason}`)),
      })
      if (slot < 0) reject(new RingfenceError('OVERLOADED', 'upstreamStreamsMax reached'))
      else this.#send(slot, envelope, 0, envelope.length, this.#options.turn.nowMicros(), false)
    })
  }

  /** Takes no more requests; closes when the last answer came. */
  retire(): void {
    if (this.#state === 'closed') return
    this.#state = 'retired'
    if (this.#inFlight === 0) this.destroy('retired')
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
      this.destroy(`the node sent what may not be: ${reason instanceof Error ? reason.message : String(reason)}`)
    }
  }

  /** Part of `EnvelopeSink`. */
  onEnvelope(buffer: Buffer, start: number, end: number): void {
    const slot = headerStream(buffer, start)
    if (slot < 0) {
      this.#options.onEvent?.(buffer, start, end)
      return
    }
    const owner = this.#owners[slot]
    if (owner === undefined) throw new RingfenceError('UPSTREAM', `an answer to stream ${slot}, which asked nothing`)
    if (this.#switchFraming) {
      this.#switchFraming = false
      this.#inbound.useSegments('none')
      this.#outbox.use('segments')
    }
    if (slot === this.#largeSlot) this.#largeOver()
    this.#kept = -1
    owner.onAnswer(this, slot, buffer, start, end)
    if (this.#kept !== slot) this.release(slot)
  }

  /** Part of `EnvelopeSink`: an answer is kept while it comes only as far as its asker's account lets it; no other request suffers for it. */
  onLarge(buffer: Buffer, start: number, envelopeBytes: number): boolean {
    const slot = headerStream(buffer, start)
    const fits = envelopeBytes <= limits.answerBytesMax + HEADER_BYTES
    if (slot < 0) return fits
    const owner = this.#owners[slot]
    if (owner === undefined) throw new RingfenceError('UPSTREAM', `an answer to stream ${slot}, which asked nothing`)
    if (owner === nobody) return false
    const account = this.account[slot]
    if (fits && (account === undefined || account.take(envelopeBytes) !== Verdict.REFUSE)) {
      this.#largeSlot = slot
      this.#largeBytes = account === undefined ? 0 : envelopeBytes
      return true
    }
    owner.onUnfit(this, slot, envelopeBytes)
    this.abandon(slot)
    return false
  }

  /** Part of `EnvelopeSink`. */
  onDropped(slot: number): void {
    if (slot >= 0) this.release(slot)
  }

  /** From here on the answer counts where it goes. */
  #largeOver(): void {
    this.account[this.#largeSlot]?.give(this.#largeBytes)
    this.#largeSlot = -1
    this.#largeBytes = 0
  }

  #onDrain(): void {
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
    for (let slot = 0; slot < this.#slotsEver; slot++) {
      const owner = this.#owners[slot]
      if (owner === undefined) continue
      if (owner === nobody) {
        // A connection that owes answers for so long gets no more requests.
        if (this.startedMicros[slot]! < before - limits.requestTimeoutMs * 1000) this.#state = 'retired'
        continue
      }
      if (this.startedMicros[slot]! <= before) owner.onTimeout(this, slot)
      else {
        wanted = true
        if (this.startedMicros[slot]! < now - SWEEP_MS * 1000) this.#copyOut(slot)
      }
    }
    if (this.#state === 'retired' && !wanted) this.destroy('its answers are not awaited any more')
  }

  /** A slow request is not to keep the whole slab that it was sent from. */
  #copyOut(slot: number): void {
    const slab = this.requestSlab[slot]
    if (this.#pins[slot] === undefined || slab === undefined) return
    const at = this.requestAt[slot]!
    this.requestSlab[slot] = Buffer.from(slab.subarray(at, at + this.requestBytes[slot]!))
    this.requestAt[slot] = 0
    this.#pins[slot]?.unpin()
    this.#pins[slot] = undefined
  }

  #onClose(): void {
    const was = this.#state
    this.#state = 'closed'
    clearInterval(this.#sweep)
    this.#outbox.close()
    if (this.#largeSlot >= 0) this.#largeOver()
    for (const { resolve } of this.#waiters) resolve()
    this.#waiters = []
    for (let slot = 0; slot < this.#slotsEver; slot++) {
      const owner = this.#owners[slot]
      this.#owners[slot] = undefined
      this.#giveBack(slot)
      owner?.onLost(this, slot)
    }
    this.#inFlight = 0
    if (was !== 'opening') this.#options.onClosed(this, this.#reason)
  }
}

const nobody: Owner = { onAnswer() {}, onUnfit() {}, onTimeout() {}, onLost() {} }

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
