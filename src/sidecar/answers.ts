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
import type { Client } from '../session/backend.ts'
import { cqlFault } from '../session/fault.ts'
import { confirms } from './confirm.ts'
import type { SessionContext } from './context.ts'
import { columnsDigest, timeoutEnvelope, unfitEnvelope } from './envelopes.ts'
import type { IdentityState } from './judged.ts'
import { ANSWER_INLINE_BYTES_MAX, LargeAnswers, ownEnvelope } from './large-answers.ts'
import { Repreparer, type RepreparerOptions } from './reprepare.ts'
import type { Owner, Request } from './request.ts'
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

export interface AnswerEvents {
  /** The node's SET_KEYSPACE: the keyspace in force. */
  readonly keyspaceChanged: (keyspace: string) => void
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
    this.#topologyHidden = options.topologyHidden
    this.#context = options.context
    this.#events = events
    this.#large = new LargeAnswers(options.identity.share, options.client.account, {
      onChanged: (request, changed) => {
        const rows = rowsCount(changed, 0, changed.length, this.#version)
        this.#finish(request, changed, 0, changed.length, rows, -1)
      },
      onFailed: (request, reason) => this.#failed(request, reason),
    })
    this.#repreparer = new Repreparer({
      pool: shared.pool,
      identity: options.identity,
      version: options.version,
      poolOwner,
      mayPrepare: events.mayPrepare,
      sendPrepare: events.sendPrepare,
      onPrepared: (prepare, answer) => this.#preparedAgain(prepare, answer),
      onSame: (request, id) => {
        if (!this.#serveAgain(request)) this.#toldOther(request, id)
      },
      onOther: (request, id) => this.#toldOther(request, id),
    })
  }

  onAnswer(request: Request, buffer: Buffer, start: number, end: number): void {
    try {
      this.#answer(request, buffer, start, end)
    } catch (reason) {
      this.#failed(request, reason)
    }
  }

  /** The client hears an error in the answer's place. */
  #failed(request: Request, reason: unknown): void {
    const { stream } = request
    const { code, message, fatal } = cqlFault(ofAnswer(reason))
    const envelope = errorEnvelope(this.#version, stream, code, message)
    const { recorder } = this.#shared
    recorder.done(request, code, -1, envelope, 0, envelope.length)
    if (fatal && !recorder.failed) this.#client.fault(reason, stream)
    else this.#give(envelope, 0, envelope.length, stream)
    this.#letGoAfter(request)
  }

  /** While records cannot be written, an answer whose line is in memory only does not leave: the client is disconnected. */
  #give(buffer: Buffer, start: number, end: number, stream: number): void {
    this.#repreparer.answered(stream)
    if (this.#shared.recorder.failed) this.#client.close('the audit record cannot be written')
    else this.#client.answer(buffer, start, end, stream)
  }

  #letGoAfter(request: Request): void {
    if (request.judged.facts.use !== undefined && request.opcode !== Opcode.PREPARE) this.#events.used()
  }

  #answer(request: Request, buffer: Buffer, start: number, end: number): void {
    const permit = request.permit!
    const at = headerFlags(buffer, start) === 0 ? start + HEADER_BYTES : bodyStart(buffer, start, end)
    let rows = -1
    let code = -1
    let changed: Buffer | undefined
    if (headerOpcode(buffer, start) === Opcode.RESULT) {
      const kind = buffer.readInt32BE(at)
      if (kind === ResultKind.ROWS) {
        if (changesRows(permit) || hasMorePages(buffer, start, end)) {
          if (end - start > ANSWER_INLINE_BYTES_MAX) {
            this.#changeSliced(request, ownEnvelope(buffer, start, end))
            return
          }
          changed = this.#rowsForClient(request, buffer, start, end)
          rows = rowsCount(changed, 0, changed.length, this.#version)
        } else rows = rowsCount(buffer, start, end, this.#version)
      } else if (kind === ResultKind.PREPARED) this.#learn(request, buffer, start, end)
      else if (kind === ResultKind.SET_KEYSPACE) this.#adoptKeyspace(request, buffer, start, end)
      else if (kind === ResultKind.SCHEMA_CHANGE) {
        this.#shared.schema.changed(readSchemaChange(buffer, start, end).keyspace)
      }
    } else {
      code = buffer.readInt32BE(at)
      if (code === CqlErrorCode.UNPREPARED && this.#repreparer.again(request, buffer, start, end)) return
      if (code === CqlErrorCode.UNAUTHORIZED) changed = withoutRoleName(buffer, start, end)
    }
    if (changed === undefined) this.#finish(request, buffer, start, end, rows, code)
    else this.#finish(request, changed, 0, changed.length, rows, code)
  }

  /** What its rows are is settled. */
  #finish(request: Request, buffer: Buffer, start: number, end: number, rows: number, code: number): void {
    const { observed } = request.permit!
    let changed = this.#topologyHidden ? withoutAddresses(buffer, start, end, this.#version) : undefined
    if (observed !== undefined) {
      changed = withObserved(changed ?? buffer.subarray(start, end), this.#version, observed)
    }
    const { recorder } = this.#shared
    const { stream } = request
    const answer = changed ?? buffer
    const from = changed === undefined ? start : 0
    const to = changed === undefined ? end : changed.length
    recorder.done(request, code, rows, answer, from, to)
    this.#give(answer, from, to, stream)
    this.#letGoAfter(request)
  }

  #rowsForClient(request: Request, buffer: Buffer, start: number, end: number): Buffer {
    const sent = sentBytes(request)
    const passage = this.#passageOfAnswer(request, sent, buffer.subarray(start, end))
    return incomingRows(passage, this.#shared.secrets, sent, buffer, start, end)
  }

  /** In slices, under the client's share of the loop; the slot is kept until then. `answer` is ours. */
  #changeSliced(request: Request, answer: Buffer): void {
    const sent = sentBytes(request)
    const passage = this.#passageOfAnswer(request, sent, answer)
    const slices = incomingRowsSliced(passage, this.#shared.secrets, sent, answer)
    this.#large.begin(request, slices, answer.length)
  }

  #passageOfAnswer(request: Request, sent: Buffer, answer: Buffer): Passage {
    const given = this.#passage(request)
    const { judge } = this.#shared
    return { ...given, permit: permitOfAnswer(given, judge, this.#context, request.consistency, sent, answer) }
  }

  #passage({ opcode, judged, permit }: Request): Passage {
    return { version: this.#version, opcode, judged, permit: permit!, identity: this.#identity }
  }

  /** The node did not have its statement. It is judged like any other that comes now. */
  #serveAgain(request: Request): boolean {
    const envelope = asItCame(this.#passage(request), sentBytes(request), this.#shared.secrets)
    envelope.writeInt16BE(request.stream, 2)
    return this.#events.again(envelope, request.carrier?.keyspace ?? '')
  }

  /** The record of a PREPARE that the client did not ask for. */
  #preparedAgain(request: Request, answer: Buffer | undefined): void {
    const { recorder } = this.#shared
    if (answer === undefined) {
      recorder.lost(request, 'no answer to a repeated PREPARE')
      return
    }
    const code = headerOpcode(answer, 0) === Opcode.ERROR ? readError(answer, 0, answer.length).code : -1
    recorder.done(request, code, -1, answer, 0, answer.length)
  }

  /** The node's id now means this statement, to this identity. An id that meant another text is a forgery (attack B4). */
  #learn({ judged, carrier }: Request, buffer: Buffer, start: number, end: number): void {
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
      carrier?.destroy('one prepared id for two statements')
      throw new RingfenceError('UPSTREAM', 'the node gave one prepared id to two statements')
    }
    if (judged.facts.verb === 'SELECT' && driverKeyspaces.has(judged.facts.keyspace ?? '')) {
      this.#shared.questions.prepared(judged, prepared)
    }
    this.#identity.prepared.set(id, judged)?.told.set(this.#version, columnsDigest(buffer, start, end))
  }

  #adoptKeyspace({ judged, carrier }: Request, buffer: Buffer, start: number, end: number): void {
    const keyspace = readSetKeyspace(buffer, start, end)
    if (judged.facts.use !== keyspace || carrier?.keyspace !== keyspace) {
      carrier?.destroy('the keyspace of a shared connection changed')
      throw new RingfenceError('UPSTREAM', 'the node set another keyspace than was asked for')
    }
    this.#events.keyspaceChanged(keyspace)
  }

  /** The driver prepares again itself and is told by the node what is wrong with the statement. */
  #toldOther(request: Request, id: Buffer): void {
    const { stream } = request
    const envelope = unpreparedEnvelope(this.#version, stream, id, 'the node no longer has this prepared statement')
    const { recorder } = this.#shared
    const code = CqlErrorCode.UNPREPARED
    recorder.done(request, code, -1, envelope, 0, envelope.length)
    this.#give(envelope, 0, envelope.length, stream)
    this.#letGoAfter(request)
  }

  onUnfit(request: Request, answerBytes: number): void {
    const { stream } = request
    const envelope = unfitEnvelope(this.#version, stream, answerBytes)
    const { recorder } = this.#shared
    const code = errorCode(envelope, 0, envelope.length)
    recorder.done(request, code, -1, envelope, 0, envelope.length)
    this.#give(envelope, 0, envelope.length, stream)
    this.#letGoAfter(request)
  }

  onTimeout(request: Request): void {
    const { stream } = request
    const envelope = timeoutEnvelope(this.#version, stream, request.judged, request.consistency)
    this.#shared.recorder.lost(request, 'timeout')
    // Of one that is being changed the node owes nothing more.
    if (!this.#large.drop(request)) request.carrier?.abandon(request)
    this.#give(envelope, 0, envelope.length, stream)
    this.#letGoAfter(request)
  }

  /** Whether the node acted is unknown: no answer is made up, the client's connection ends and its driver decides. */
  onLost(request: Request): void {
    this.#large.drop(request)
    this.#shared.recorder.lost(request, 'connection to the node lost')
    this.#client.close('connection to the node lost')
  }
}

/** The request as it was forwarded; a view. */
function sentBytes(request: Request): Buffer {
  assert(request.remembered && request.byteCount > 0, 'what may be needed again is kept until it is answered')
  return request.view()
}

/** What is wrong with one answer is wrong with its request only: the client's bytes can be trusted as before, and its connection goes on. */
function ofAnswer(reason: unknown): unknown {
  if (!(reason instanceof RingfenceError) || !cqlFault(reason).fatal) return reason
  const code = reason.code === 'TOO_LARGE' ? 'INVALID' : 'UPSTREAM'
  return new RingfenceError(code, `the answer cannot be given: ${reason.message}`, { cause: reason })
}
