/**
 * The way back: each answer of the node is looked at for what changes the session, changed where the permit asks for it, recorded, and
 * handed to the client under the client's own stream id.
 *
 * Rule: an answer that cannot be changed as its permit asks is not handed on; the client hears an error in its place.
 */
import { assert, RingfenceError } from '../base/errors.ts'
import { withoutAddresses } from '../cql/answers/addresses.ts'
import { withoutRoleName } from '../cql/answers/role.ts'
import { errorEnvelope, unpreparedEnvelope } from '../cql/encode.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { CqlErrorCode, HEADER_BYTES, headerFlags, headerOpcode, Opcode, ResultKind } from '../cql/protocol.ts'
import {
  bodyStart,
  errorCode,
  hasMorePages,
  readError,
  readPrepared,
  readSchemaChange,
  readSetKeyspace,
  rowsCount,
} from '../cql/responses.ts'
import { driverKeyspaces } from '../policy/builtin.ts'
import type { Permit } from '../policy/engine.ts'
import type { Client } from '../session/backend.ts'
import { cqlFault } from '../session/fault.ts'
import { confirms } from './confirm.ts'
import type { SessionContext } from './context.ts'
import { columnsDigest, timeoutEnvelope, unfitEnvelope } from './envelopes.ts'
import type { IdentityState, Judged } from './judged.ts'
import { ANSWER_INLINE_BYTES_MAX, LargeAnswers, ownEnvelope } from './large-answers.ts'
import { Repreparer, type RepreparerOptions } from './reprepare.ts'
import {
  asItCame,
  changesRows,
  incomingRows,
  incomingRowsSliced,
  type Passage,
  permitOfAnswer,
  withObserved,
} from './rewrites.ts'
import type { SessionOptions, Shared } from './session.ts'
import type { Owner, Upstream } from './upstream.ts'

export interface AnswerEvents {
  /** The node's SET_KEYSPACE: the keyspace in force, and the connection that has it. */
  readonly keyspaceChanged: (keyspace: string, upstream: Upstream) => void
  /** A USE was answered, whatever the answer was. */
  readonly used: () => void
  /** See `RepreparerOptions`. */
  readonly mayPrepare: RepreparerOptions['mayPrepare']
  readonly sendPrepare: RepreparerOptions['sendPrepare']
  /** Serves a request from its beginning that had no effect; false where it would now run in another keyspace. */
  readonly again: (request: Buffer, keyspace: string) => boolean
}

export class Answers implements Owner {
  readonly #shared: Shared
  readonly #client: Client
  readonly #identity: IdentityState
  readonly #version: ProtocolVersion
  readonly #sessionPart: string
  readonly #topologyHidden: boolean
  readonly #context: SessionContext
  readonly #events: AnswerEvents
  readonly #repreparer: Repreparer
  readonly #large: LargeAnswers

  constructor(shared: Shared, options: SessionOptions, poolOwner: string, events: AnswerEvents) {
    this.#shared = shared
    this.#client = options.client
    this.#identity = options.identity
    this.#version = options.version
    this.#sessionPart = options.sessionPart
    this.#topologyHidden = options.topologyHidden
    this.#context = options.context
    this.#events = events
    this.#large = new LargeAnswers(options.identity.share, options.client.account, {
      onChanged: ({ upstream, slot }, changed) => {
        const rows = rowsCount(changed, 0, changed.length, this.#version)
        this.#finish(upstream, slot, changed, 0, changed.length, rows, -1)
      },
      onFailed: ({ upstream, slot }, reason) => this.#failed(upstream, slot, reason),
    })
    this.#repreparer = new Repreparer({
      pool: shared.pool,
      identity: options.identity,
      version: options.version,
      poolOwner,
      owner: this,
      mayPrepare: events.mayPrepare,
      sendPrepare: events.sendPrepare,
      onPrepared: (upstream, slot, answer) => this.#preparedAgain(upstream, slot, answer),
      onSame: (upstream, slot, id) => {
        if (!this.#serveAgain(upstream, slot)) this.#toldOther(upstream, slot, id)
      },
      onOther: (upstream, slot, id) => this.#toldOther(upstream, slot, id),
    })
  }

  onAnswer(upstream: Upstream, slot: number, buffer: Buffer, start: number, end: number): void {
    if (this.#large.has(upstream, slot)) throw new RingfenceError('UPSTREAM', `a second answer to stream ${slot}`)
    try {
      this.#answer(upstream, slot, buffer, start, end)
    } catch (reason) {
      this.#failed(upstream, slot, reason)
    }
  }

  /** The client hears an error in the answer's place. */
  #failed(upstream: Upstream, slot: number, reason: unknown): void {
    const stream = upstream.clientStream[slot]!
    const { code, message, fatal } = cqlFault(ofAnswer(reason))
    const envelope = errorEnvelope(this.#version, stream, code, message)
    const { recorder } = this.#shared
    recorder.done(this.#sessionPart, this.#identity, upstream, slot, code, -1, envelope, 0, envelope.length)
    if (fatal && !recorder.failed) this.#client.fault(reason, stream)
    else this.#give(envelope, 0, envelope.length, stream)
    this.#letGoAfter(upstream, slot)
  }

  /** While records cannot be written, an answer whose line is in memory only does not leave: the client is disconnected. */
  #give(buffer: Buffer, start: number, end: number, stream: number): void {
    this.#repreparer.answered(stream)
    if (this.#shared.recorder.failed) this.#client.close('the audit record cannot be written')
    else this.#client.answer(buffer, start, end, stream)
  }

  #letGoAfter(upstream: Upstream, slot: number): void {
    if (upstream.judged[slot]?.facts.use !== undefined && upstream.opcode[slot] !== Opcode.PREPARE) this.#events.used()
  }

  #answer(upstream: Upstream, slot: number, buffer: Buffer, start: number, end: number): void {
    const judged = upstream.judged[slot]!
    const permit = upstream.permit[slot]!
    const at = headerFlags(buffer, start) === 0 ? start + HEADER_BYTES : bodyStart(buffer, start, end)
    let rows = -1
    let code = -1
    let changed: Buffer | undefined
    if (headerOpcode(buffer, start) === Opcode.RESULT) {
      const kind = buffer.readInt32BE(at)
      if (kind === ResultKind.ROWS) {
        if (changesRows(permit) || hasMorePages(buffer, start, end)) {
          if (end - start > ANSWER_INLINE_BYTES_MAX) {
            this.#changeSliced(upstream, slot, judged, permit, ownEnvelope(buffer, start, end))
            return
          }
          changed = this.#rowsForClient(upstream, slot, judged, permit, buffer, start, end)
          rows = rowsCount(changed, 0, changed.length, this.#version)
        } else rows = rowsCount(buffer, start, end, this.#version)
      } else if (kind === ResultKind.PREPARED) this.#learn(upstream, judged, buffer, start, end)
      else if (kind === ResultKind.SET_KEYSPACE) this.#adoptKeyspace(upstream, judged, buffer, start, end)
      else if (kind === ResultKind.SCHEMA_CHANGE) {
        this.#shared.schema.changed(readSchemaChange(buffer, start, end).keyspace)
      }
    } else {
      code = buffer.readInt32BE(at)
      if (code === CqlErrorCode.UNPREPARED && this.#repreparer.again(upstream, slot, buffer, start, end)) return
      if (code === CqlErrorCode.UNAUTHORIZED) changed = withoutRoleName(buffer, start, end)
    }
    if (changed === undefined) this.#finish(upstream, slot, buffer, start, end, rows, code)
    else this.#finish(upstream, slot, changed, 0, changed.length, rows, code)
  }

  /** What its rows are is settled. */
  #finish(
    upstream: Upstream,
    slot: number,
    buffer: Buffer,
    start: number,
    end: number,
    rows: number,
    code: number,
  ): void {
    const { observed } = upstream.permit[slot]!
    let changed = this.#topologyHidden ? withoutAddresses(buffer, start, end, this.#version) : undefined
    if (observed !== undefined) {
      changed = withObserved(changed ?? buffer.subarray(start, end), this.#version, observed)
    }
    const { recorder } = this.#shared
    const stream = upstream.clientStream[slot]!
    const answer = changed ?? buffer
    const from = changed === undefined ? start : 0
    const to = changed === undefined ? end : changed.length
    recorder.done(this.#sessionPart, this.#identity, upstream, slot, code, rows, answer, from, to)
    this.#give(answer, from, to, stream)
    this.#letGoAfter(upstream, slot)
  }

  #rowsForClient(
    upstream: Upstream,
    slot: number,
    judged: Judged,
    permit: Permit,
    buffer: Buffer,
    start: number,
    end: number,
  ): Buffer {
    const request = requestOf(upstream, slot)
    const passage = this.#passageOfAnswer(upstream, slot, judged, permit, request, buffer.subarray(start, end))
    return incomingRows(passage, this.#shared.secrets, request, buffer, start, end)
  }

  /** In slices, under the client's share of the loop; the slot is kept until then. `answer` is ours. */
  #changeSliced(upstream: Upstream, slot: number, judged: Judged, permit: Permit, answer: Buffer): void {
    const request = requestOf(upstream, slot)
    const passage = this.#passageOfAnswer(upstream, slot, judged, permit, request, answer)
    const slices = incomingRowsSliced(passage, this.#shared.secrets, request, answer)
    this.#large.begin(upstream, slot, slices, answer.length)
  }

  #passageOfAnswer(
    upstream: Upstream,
    slot: number,
    judged: Judged,
    permit: Permit,
    request: Buffer,
    answer: Buffer,
  ): Passage {
    const given = this.#passage(upstream, slot, judged, permit)
    const consistency = upstream.consistency[slot]!
    const { judge } = this.#shared
    return { ...given, permit: permitOfAnswer(given, judge, this.#context, consistency, request, answer) }
  }

  #passage(upstream: Upstream, slot: number, judged: Judged, permit: Permit): Passage {
    return { version: this.#version, opcode: upstream.opcode[slot]!, judged, permit, identity: this.#identity }
  }

  /** The node did not have its statement. It is judged like any other that comes now. */
  #serveAgain(upstream: Upstream, slot: number): boolean {
    const passage = this.#passage(upstream, slot, upstream.judged[slot]!, upstream.permit[slot]!)
    const request = asItCame(passage, requestOf(upstream, slot), this.#shared.secrets)
    request.writeInt16BE(upstream.clientStream[slot]!, 2)
    return this.#events.again(request, upstream.keyspace)
  }

  /** The record of a PREPARE that the client did not ask for. */
  #preparedAgain(upstream: Upstream, slot: number, answer: Buffer | undefined): void {
    const { recorder } = this.#shared
    if (answer === undefined) {
      recorder.lost(this.#sessionPart, this.#identity, upstream, slot, 'no answer to a repeated PREPARE')
      return
    }
    const code = headerOpcode(answer, 0) === Opcode.ERROR ? readError(answer, 0, answer.length).code : -1
    recorder.done(this.#sessionPart, this.#identity, upstream, slot, code, -1, answer, 0, answer.length)
  }

  /** The node's id now means this statement, to this identity. An id that meant another text is a forgery (attack B4). */
  #learn(upstream: Upstream, judged: Judged, buffer: Buffer, start: number, end: number): void {
    const prepared = readPrepared(buffer, start, end, this.#version)
    const { id } = prepared
    if (!confirms(judged.facts, prepared)) {
      this.#shared.log.error(
        { statement: judged.facts.redacted },
        'the node read other tables in a statement than we did',
      )
      throw new RingfenceError(
        'UNAUTHORIZED',
        'the node and the mesh read this statement differently, so it is refused',
      )
    }
    const known = this.#identity.prepared.find(id, 0, id.length)
    const other =
      known !== undefined &&
      (known.judged.text !== judged.text || (judged.keyspaceCounts && known.judged.keyspace !== judged.keyspace))
    if (other) {
      this.#shared.log.error({ id: id.toString('hex') }, 'the node gave one prepared id to two statements')
      upstream.destroy('one prepared id for two statements')
      throw new RingfenceError('UPSTREAM', 'the node gave one prepared id to two statements')
    }
    if (judged.facts.verb === 'SELECT' && driverKeyspaces.has(judged.facts.keyspace ?? '')) {
      this.#shared.questions.prepared(judged, prepared)
    }
    this.#identity.prepared.set(id, judged)?.told.set(this.#version, columnsDigest(buffer, start, end))
  }

  #adoptKeyspace(upstream: Upstream, judged: Judged, buffer: Buffer, start: number, end: number): void {
    const keyspace = readSetKeyspace(buffer, start, end)
    if (judged.facts.use !== keyspace || upstream.keyspace !== keyspace) {
      upstream.destroy('the keyspace of a shared connection changed')
      throw new RingfenceError('UPSTREAM', 'the node set another keyspace than was asked for')
    }
    this.#events.keyspaceChanged(keyspace, upstream)
  }

  /** The driver prepares again itself and is told by the node what is wrong with the statement. */
  #toldOther(upstream: Upstream, slot: number, id: Buffer): void {
    const stream = upstream.clientStream[slot]!
    const envelope = unpreparedEnvelope(this.#version, stream, id, 'the node no longer has this prepared statement')
    const { recorder } = this.#shared
    const code = CqlErrorCode.UNPREPARED
    recorder.done(this.#sessionPart, this.#identity, upstream, slot, code, -1, envelope, 0, envelope.length)
    this.#give(envelope, 0, envelope.length, stream)
    this.#letGoAfter(upstream, slot)
  }

  onUnfit(upstream: Upstream, slot: number, answerBytes: number): void {
    if (this.#large.has(upstream, slot)) throw new RingfenceError('UPSTREAM', `a second answer to stream ${slot}`)
    const stream = upstream.clientStream[slot]!
    const envelope = unfitEnvelope(this.#version, stream, answerBytes)
    const { recorder } = this.#shared
    const code = errorCode(envelope, 0, envelope.length)
    recorder.done(this.#sessionPart, this.#identity, upstream, slot, code, -1, envelope, 0, envelope.length)
    this.#give(envelope, 0, envelope.length, stream)
    this.#letGoAfter(upstream, slot)
  }

  onTimeout(upstream: Upstream, slot: number): void {
    const judged = upstream.judged[slot]!
    const stream = upstream.clientStream[slot]!
    const envelope = timeoutEnvelope(this.#version, stream, judged, upstream.consistency[slot]!)
    this.#shared.recorder.lost(this.#sessionPart, this.#identity, upstream, slot, 'timeout')
    // Of one that is being changed the node owes nothing more.
    if (!this.#large.drop(upstream, slot)) upstream.abandon(slot)
    this.#give(envelope, 0, envelope.length, stream)
    this.#letGoAfter(upstream, slot)
  }

  /** Whether the node acted is unknown: no answer is made up, the client's connection ends and its driver decides. */
  onLost(upstream: Upstream, slot: number): void {
    this.#large.drop(upstream, slot)
    this.#shared.recorder.lost(this.#sessionPart, this.#identity, upstream, slot, 'connection to the node lost')
    this.#client.close('connection to the node lost')
  }
}

/** The request under a slot as it was forwarded; a view. */
function requestOf(upstream: Upstream, slot: number): Buffer {
  const slab = upstream.requestSlab[slot]
  assert(slab !== undefined, 'what may be needed again is kept until it is answered')
  const at = upstream.requestAt[slot]!
  return slab.subarray(at, at + upstream.requestBytes[slot]!)
}

/** What is wrong with one answer is wrong with its request only: the client's bytes can be trusted as before, and its connection goes on. */
function ofAnswer(reason: unknown): unknown {
  if (!(reason instanceof RingfenceError) || !cqlFault(reason).fatal) return reason
  const code = reason.code === 'TOO_LARGE' ? 'INVALID' : 'UPSTREAM'
  return new RingfenceError(code, `the answer cannot be given: ${reason.message}`, { cause: reason })
}
