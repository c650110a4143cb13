/**
 * The enforced session: the one place where policy is enforced. Each envelope is read to its last byte, judged, and only then
 * given to the node; each answer is looked at for what changes the session, and recorded.
 *
 * Rule: nothing is sent without a `Permit` of the revision in force, and nothing is sent that was not wholly understood.
 */
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { errorEnvelope, prepareEnvelope, readyEnvelope, unpreparedEnvelope } from '../cql/encode.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import {
  CqlErrorCode,
  HEADER_BYTES,
  headerFlags,
  headerOpcode,
  headerStream,
  Opcode,
  ResultKind,
} from '../cql/protocol.ts'
import {
  BatchView,
  ExecuteView,
  PrepareView,
  QueryView,
  readBatch,
  readExecute,
  readPrepare,
  readQuery,
  readRegister,
} from '../cql/requests.ts'
import { bodyStart, readError, readPrepared, readSetKeyspace, rowsCount } from '../cql/responses.ts'
import type { Denial, Permit } from '../policy/engine.ts'
import type { Backend, Client } from '../session/backend.ts'
import { cqlFault } from '../session/fault.ts'
import type { Turn } from '../session/turn.ts'
import type { Logger } from '../telemetry/log.ts'
import { batchFacts } from './batch.ts'
import { columnsDigest, timeoutEnvelope, unknownId, withoutPayload } from './envelopes.ts'
import type { EventHub } from './events.ts'
import type { IdentityState, Judge, Judged } from './judged.ts'
import { permitOf } from './judged.ts'
import type { UpstreamPool } from './pool.ts'
import type { Recorder } from './recorder.ts'
import { topologyRefusal } from './topology.ts'
import type { Owner, Upstream } from './upstream.ts'
import { NodeError } from './upstream.ts'

/** What all sessions of a sidecar share. */
export interface Shared {
  readonly turn: Turn
  readonly log: Logger
  readonly judge: Judge
  readonly pool: UpstreamPool
  readonly recorder: Recorder
  readonly events: EventHub
  readonly share: 'mesh' | 'identity'
}

export interface SessionOptions {
  readonly client: Client
  readonly version: ProtocolVersion
  /** The keyspace in force from the start; empty for none. Must have been judged by `mayUse`. */
  readonly keyspace: string
  readonly identity: IdentityState
  /** The record's part that is the same for the whole session. */
  readonly sessionPart: string
  /** The client came by a gateway, which shows it a topology of its own. */
  readonly topologyHidden: boolean
}

/** Where a request's custom payload stands; `payloadStart` is −1 where it has none. */
type PayloadPlace = { readonly payloadStart: number; readonly payloadEnd: number }

/** A BATCH with more prepared parts that the node forgot is the driver's to prepare again. */
const BATCH_REPLAYS_MAX = 64

// Filled anew for each envelope; nothing of them is kept after the call.
const query = new QueryView()
const prepare = new PrepareView()
const execute = new ExecuteView()
const batch = new BatchView()

export class EnforcedSession implements Backend, Owner {
  readonly #shared: Shared
  readonly #client: Client
  readonly #identity: IdentityState
  readonly #version: ProtocolVersion
  readonly #sessionPart: string
  readonly #poolOwner: string
  readonly #topologyHidden: boolean
  #keyspace: string
  #upstream: Upstream | undefined
  /** Requests that wait while a USE is answered or a connection to the node opens; undefined when nothing waits. */
  #held: Buffer[] | undefined
  #closed = false

  constructor(shared: Shared, options: SessionOptions) {
    this.#shared = shared
    this.#client = options.client
    this.#identity = options.identity
    this.#version = options.version
    this.#keyspace = options.keyspace
    this.#sessionPart = options.sessionPart
    this.#topologyHidden = options.topologyHidden
    this.#poolOwner = shared.share === 'identity' ? options.identity.principal.spiffeId : ''
    this.#identity.sessions++
  }

  /** Connects to the node, so that a client is told READY only when there is one. */
  async open(): Promise<void> {
    this.#upstream = await this.#shared.pool.get(this.#version, this.#keyspace, this.#poolOwner)
  }

  request(buffer: Buffer, start: number, end: number): void {
    if (this.#held !== undefined) {
      if (this.#held.length >= limits.heldRequestsMax) throw new RingfenceError('OVERLOADED', 'heldRequestsMax reached')
      this.#held.push(Buffer.from(buffer.subarray(start, end)))
      return
    }
    this.#refuseUnrecorded()
    const opcode = headerOpcode(buffer, start)
    try {
      this.#judgeAndForward(opcode, buffer, start, end)
    } catch (reason) {
      const { code, message } = cqlFault(reason)
      this.#shared.recorder.refused(this.#sessionPart, opcode, code, message, end - start)
      throw reason
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#held = undefined
    this.#identity.sessions--
    this.#shared.events.remove(this)
    this.#shared.recorder.disconnected(this.#sessionPart)
  }

  /** An event of the node that this session registered for. */
  onEvent(envelope: Buffer): void {
    this.#client.event(envelope, 0, envelope.length)
  }

  get version(): ProtocolVersion {
    return this.#version
  }

  #refuseUnrecorded(): void {
    if (!this.#shared.recorder.failed) return
    throw new RingfenceError('OVERLOADED', 'the audit record cannot be written, so nothing is forwarded')
  }

  #judgeAndForward(opcode: number, buffer: Buffer, start: number, end: number): void {
    switch (opcode) {
      case Opcode.EXECUTE:
        this.#execute(buffer, start, end)
        return
      case Opcode.QUERY:
        this.#query(buffer, start, end)
        return
      case Opcode.PREPARE:
        this.#prepare(buffer, start, end)
        return
      case Opcode.BATCH:
        this.#batch(buffer, start, end)
        return
      case Opcode.REGISTER: {
        const types = readRegister(buffer, start, end, this.#version, headerFlags(buffer, start))
        this.#shared.events.add(this, types)
        const ready = readyEnvelope(this.#version, headerStream(buffer, start))
        this.#client.answer(ready, 0, ready.length, headerStream(buffer, start))
        return
      }
      default:
        throw new RingfenceError('PROTOCOL', `unknown opcode ${opcode}`)
    }
  }

  #execute(buffer: Buffer, start: number, end: number): void {
    readExecute(execute, buffer, start, end, this.#version, headerFlags(buffer, start))
    const prepared = this.#identity.prepared.find(buffer, execute.idStart, execute.idEnd)
    if (prepared === undefined) {
      this.#unprepared(buffer.subarray(execute.idStart, execute.idEnd), buffer, start, end)
      return
    }
    this.#obey(prepared.judged, Opcode.EXECUTE, execute.params.consistency, execute, buffer, start, end)
  }

  #query(buffer: Buffer, start: number, end: number): void {
    readQuery(query, buffer, start, end, this.#version, headerFlags(buffer, start))
    const keyspace = query.params.keyspace ?? this.#keyspace
    const judged = this.#shared.judge.judge(this.#identity, query.text, keyspace)
    this.#obey(judged, Opcode.QUERY, query.params.consistency, query, buffer, start, end)
  }

  #prepare(buffer: Buffer, start: number, end: number): void {
    readPrepare(prepare, buffer, start, end, this.#version, headerFlags(buffer, start))
    const judged = this.#shared.judge.judge(this.#identity, prepare.text, prepare.keyspace ?? this.#keyspace)
    this.#obey(judged, Opcode.PREPARE, 0, prepare, buffer, start, end)
  }

  /** What becomes of a statement that was read: refused, forwarded, or for USE the move to another connection. */
  #obey(
    judged: Judged,
    opcode: number,
    consistency: number,
    view: PayloadPlace,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    if (this.#topologyHidden && judged.namesTopology) throw topologyRefusal()
    const decision = this.#shared.judge.current(this.#identity, judged)
    if (decision.kind === 'denial') this.#deny(decision, judged, opcode, buffer, start, end)
    else if (judged.facts.use !== undefined && opcode !== Opcode.PREPARE) {
      this.#use(judged, opcode, view, buffer, start, end)
    } else this.#forward(decision, judged, opcode, consistency, view, buffer, start, end)
  }

  /** All or nothing: one part refused, and nothing is forwarded. */
  #batch(buffer: Buffer, start: number, end: number): void {
    readBatch(batch, buffer, start, end, this.#version, headerFlags(buffer, start))
    const keyspace = batch.keyspace ?? this.#keyspace
    const parts: Judged[] = []
    for (const part of batch.parts) {
      if (part.text !== undefined) {
        parts.push(this.#shared.judge.judge(this.#identity, part.text, keyspace))
        continue
      }
      const prepared = this.#identity.prepared.find(buffer, part.idStart, part.idEnd)
      if (prepared === undefined) {
        this.#unprepared(buffer.subarray(part.idStart, part.idEnd), buffer, start, end)
        return
      }
      parts.push(prepared.judged)
    }
    const whole = this.#shared.judge.whole(this.#identity, batchFacts(parts, batch.type), keyspace)
    let permit: Permit | undefined
    for (const part of parts) {
      const decision = this.#shared.judge.current(this.#identity, part)
      if (decision.kind === 'denial') {
        this.#deny(decision, whole, Opcode.BATCH, buffer, start, end)
        return
      }
      permit ??= decision
    }
    permit ??= permitOf(whole.decision)
    this.#forward(permit, whole, Opcode.BATCH, batch.consistency, batch, buffer, start, end)
  }

  /** The only way to the node. */
  #forward(
    permit: Permit,
    judged: Judged,
    opcode: number,
    consistency: number,
    view: PayloadPlace,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    if (view.payloadStart >= 0) {
      const plain = withoutPayload(buffer, start, end, view.payloadStart, view.payloadEnd)
      this.#dispatch(permit, judged, opcode, consistency, plain, 0, plain.length)
    } else {
      this.#dispatch(permit, judged, opcode, consistency, buffer, start, end)
    }
  }

  #dispatch(
    permit: Permit,
    judged: Judged,
    opcode: number,
    consistency: number,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    let upstream = this.#upstream
    if (upstream === undefined || !upstream.usable) {
      upstream = this.#shared.pool.pick(this.#version, this.#keyspace, this.#poolOwner)
      this.#upstream = upstream
      if (upstream === undefined) {
        this.#reopen(Buffer.from(buffer.subarray(start, end)))
        return
      }
    }
    this.#give(upstream, permit, judged, opcode, consistency, buffer, start, end)
  }

  #give(
    upstream: Upstream,
    permit: Permit,
    judged: Judged,
    opcode: number,
    consistency: number,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    const slot = upstream.take(this)
    if (slot < 0) {
      // The next request goes to a connection of the pool that has room, where there is one.
      if (this.#upstream === upstream) this.#upstream = undefined
      throw new RingfenceError('OVERLOADED', 'upstreamStreamsMax reached')
    }
    upstream.clientStream[slot] = headerStream(buffer, start)
    upstream.judged[slot] = judged
    upstream.permit[slot] = permit
    upstream.opcode[slot] = opcode
    upstream.consistency[slot] = consistency
    upstream.bytesIn[slot] = end - start
    const remember = opcode === Opcode.EXECUTE || opcode === Opcode.BATCH
    upstream.send(slot, buffer, start, end, this.#shared.turn.nowMicros(), remember)
  }

  /** No connection to the node is open: requests wait for one, a bounded number of them, for the time of a handshake. */
  #reopen(first: Buffer): void {
    this.#held = [first]
    this.open().then(
      () => this.#letGo(),
      (reason: unknown) => this.#failHeld(reason),
    )
  }

  #letGo(): void {
    const held = this.#held
    this.#held = undefined
    if (held === undefined || this.#closed) return
    for (const request of held) {
      try {
        this.request(request, 0, request.length)
      } catch (reason) {
        this.#client.fault(reason, headerStream(request, 0))
      }
    }
  }

  #failHeld(reason: unknown): void {
    const held = this.#held ?? []
    this.#held = undefined
    this.#shared.log.warn({ reason: String(reason) }, 'no connection to the node')
    const fault = new RingfenceError('UNAVAILABLE', 'the node behind this sidecar is not reachable')
    for (const request of held) {
      const { code, message } = cqlFault(fault)
      this.#shared.recorder.refused(this.#sessionPart, headerOpcode(request, 0), code, message, request.length)
      this.#client.fault(fault, headerStream(request, 0))
    }
  }

  /**
   * USE: the session moves to a connection whose keyspace that is. The keyspace in force changes with the node's own SET_KEYSPACE
   * only (data-access trap 5); what comes meanwhile waits.
   */
  #use(judged: Judged, opcode: number, view: PayloadPlace, buffer: Buffer, start: number, end: number): void {
    const { payloadStart, payloadEnd } = view
    const request =
      payloadStart < 0
        ? Buffer.from(buffer.subarray(start, end))
        : withoutPayload(buffer, start, end, payloadStart, payloadEnd)
    const stream = headerStream(request, 0)
    this.#held = []
    this.#shared.pool.get(this.#version, judged.facts.use ?? '', this.#poolOwner).then(
      (upstream) => {
        if (this.#closed) return
        try {
          this.#refuseUnrecorded()
          const decision = this.#shared.judge.current(this.#identity, judged)
          if (decision.kind === 'permit') {
            this.#give(upstream, decision, judged, opcode, 0, request, 0, request.length)
            return
          }
          this.#deny(decision, judged, opcode, request, 0, request.length)
        } catch (reason) {
          this.#client.fault(reason, stream)
        }
        this.#letGo()
      },
      (reason: unknown) => {
        if (this.#closed) return
        if (reason instanceof NodeError) {
          const code = readError(reason.envelope, 0, reason.envelope.length).code
          this.#client.answer(reason.envelope, 0, reason.envelope.length, stream)
          this.#shared.recorder.refused(this.#sessionPart, opcode, code, reason.message, request.length)
        } else {
          this.#client.fault(new RingfenceError('UNAVAILABLE', 'the node behind this sidecar is not reachable'), stream)
        }
        this.#letGo()
      },
    )
  }

  #deny(denial: Denial, judged: Judged, opcode: number, buffer: Buffer, start: number, end: number): void {
    const stream = headerStream(buffer, start)
    const envelope = errorEnvelope(this.#version, stream, CqlErrorCode.UNAUTHORIZED, denial.reason)
    this.#shared.recorder.denied(
      this.#sessionPart,
      this.#identity,
      judged,
      denial,
      opcode,
      end - start,
      envelope.length,
    )
    this.#client.answer(envelope, 0, envelope.length, stream)
  }

  #unprepared(id: Buffer, buffer: Buffer, start: number, end: number): void {
    const stream = headerStream(buffer, start)
    const envelope = unknownId(this.#version, stream, id)
    this.#shared.recorder.refused(
      this.#sessionPart,
      headerOpcode(buffer, start),
      CqlErrorCode.UNPREPARED,
      'unknown prepared id',
      end - start,
    )
    this.#client.answer(envelope, 0, envelope.length, stream)
  }

  onAnswer(upstream: Upstream, slot: number, buffer: Buffer, start: number, end: number): void {
    try {
      this.#answer(upstream, slot, buffer, start, end)
    } catch (reason) {
      this.#client.fault(reason, upstream.clientStream[slot]!)
      this.#letGoAfter(upstream, slot)
    }
  }

  /** What waited for the answer to a USE goes on, whatever the answer was. */
  #letGoAfter(upstream: Upstream, slot: number): void {
    if (upstream.judged[slot]?.facts.use !== undefined && upstream.opcode[slot] !== Opcode.PREPARE) this.#letGo()
  }

  #answer(upstream: Upstream, slot: number, buffer: Buffer, start: number, end: number): void {
    const judged = upstream.judged[slot]!
    const at = headerFlags(buffer, start) === 0 ? start + HEADER_BYTES : bodyStart(buffer, start, end)
    let rows = -1
    let code = -1
    if (headerOpcode(buffer, start) === Opcode.RESULT) {
      const kind = buffer.readInt32BE(at)
      if (kind === ResultKind.ROWS) rows = rowsCount(buffer, start, end, this.#version)
      else if (kind === ResultKind.PREPARED) this.#learn(upstream, judged, buffer, start, end)
      else if (kind === ResultKind.SET_KEYSPACE) this.#adoptKeyspace(upstream, judged, buffer, start, end)
    } else {
      code = buffer.readInt32BE(at)
      if (code === CqlErrorCode.UNPREPARED && this.#prepareAgain(upstream, slot, buffer, start, end)) return
    }
    this.#shared.recorder.done(this.#sessionPart, this.#identity, upstream, slot, code, rows, buffer, start, end)
    this.#client.answer(buffer, start, end, upstream.clientStream[slot]!)
    this.#letGoAfter(upstream, slot)
  }

  /** The node's id now means this statement, to this identity. An id that meant another text is a forgery (attack B4). */
  #learn(upstream: Upstream, judged: Judged, buffer: Buffer, start: number, end: number): void {
    const { id } = readPrepared(buffer, start, end, this.#version)
    const known = this.#identity.prepared.find(id, 0, id.length)
    const other =
      known !== undefined &&
      (known.judged.text !== judged.text || (judged.facts.unqualified && known.judged.keyspace !== judged.keyspace))
    if (other) {
      this.#shared.log.error({ id: id.toString('hex') }, 'the node gave one prepared id to two statements')
      upstream.destroy('one prepared id for two statements')
      throw new RingfenceError('UPSTREAM', 'the node gave one prepared id to two statements')
    }
    this.#identity.prepared.set(id, judged)?.told.set(this.#version, columnsDigest(buffer, start, end))
  }

  #adoptKeyspace(upstream: Upstream, judged: Judged, buffer: Buffer, start: number, end: number): void {
    const keyspace = readSetKeyspace(buffer, start, end)
    if (judged.facts.use !== keyspace || upstream.keyspace !== keyspace) {
      upstream.destroy('the keyspace of a shared connection changed')
      throw new RingfenceError('UPSTREAM', 'the node set another keyspace than was asked for')
    }
    this.#keyspace = keyspace
    this.#upstream = upstream
  }

  /** The node lost a prepared statement, or never had it: it is prepared there again and the request sent once more. */
  #prepareAgain(upstream: Upstream, slot: number, buffer: Buffer, start: number, end: number): boolean {
    const request = upstream.requestSlab[slot]
    const { preparedId } = readError(buffer, start, end)
    if (request === undefined || preparedId === undefined) return false
    const prepared = this.#identity.prepared.find(preparedId, 0, preparedId.length)
    const replaysMax = upstream.opcode[slot] === Opcode.BATCH ? BATCH_REPLAYS_MAX : 1
    if (prepared === undefined || upstream.replays[slot]! >= replaysMax) return false
    upstream.replays[slot] = upstream.replays[slot]! + 1
    upstream.keep(slot)
    const id = Buffer.from(preparedId)
    this.#prepareOnNode(prepared.judged, id, prepared.told.get(this.#version)).then(
      (same) => this.#replay(upstream, slot, id, same),
      () => this.#replay(upstream, slot, id, false),
    )
    return true
  }

  /**
   * False too when its columns are others than this identity was `told`: before v5 the client reads rows by the columns of its
   * own PREPARE, so after an ALTER it has to hear UNPREPARED as from the node.
   */
  async #prepareOnNode(judged: Judged, id: Buffer, told: string | undefined): Promise<boolean> {
    const upstream = await this.#shared.pool.get(this.#version, judged.keyspace, this.#poolOwner)
    const answer = await upstream.ask(prepareEnvelope(this.#version, 0, judged.text))
    if (headerOpcode(answer, 0) !== Opcode.RESULT) return false
    if (!readPrepared(answer, 0, answer.length, this.#version).id.equals(id)) return false
    return columnsDigest(answer, 0, answer.length) === told
  }

  #replay(upstream: Upstream, slot: number, id: Buffer, same: boolean): void {
    const waits = upstream.ownerOf(slot) === this
    const request = upstream.requestSlab[slot]
    if (waits && same && request !== undefined) {
      const at = upstream.requestAt[slot]!
      upstream.send(slot, request, at, at + upstream.requestBytes[slot]!, this.#shared.turn.nowMicros(), true)
      return
    }
    if (upstream.ownerOf(slot) === undefined) return
    const stream = upstream.clientStream[slot]!
    if (waits) {
      // The driver prepares again itself and is told by the node what is wrong with the statement.
      const envelope = unpreparedEnvelope(this.#version, stream, id, 'the node no longer has this prepared statement')
      const { recorder } = this.#shared
      const code = CqlErrorCode.UNPREPARED
      recorder.done(this.#sessionPart, this.#identity, upstream, slot, code, -1, envelope, 0, envelope.length)
      this.#client.answer(envelope, 0, envelope.length, stream)
      this.#letGoAfter(upstream, slot)
    }
    upstream.release(slot)
  }

  onTimeout(upstream: Upstream, slot: number): void {
    const judged = upstream.judged[slot]!
    const stream = upstream.clientStream[slot]!
    const envelope = timeoutEnvelope(this.#version, stream, judged, upstream.consistency[slot]!)
    this.#shared.recorder.lost(this.#sessionPart, this.#identity, upstream, slot, 'timeout')
    upstream.abandon(slot)
    this.#client.answer(envelope, 0, envelope.length, stream)
    this.#letGoAfter(upstream, slot)
  }

  /** Whether the node acted is unknown: no answer is made up, the client's connection ends and its driver decides. */
  onLost(upstream: Upstream, slot: number): void {
    this.#shared.recorder.lost(this.#sessionPart, this.#identity, upstream, slot, 'connection to the node lost')
    this.#client.close('connection to the node lost')
  }
}
