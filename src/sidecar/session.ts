/**
 * The enforced session: the one place where policy is enforced. Each envelope is read to its last byte, judged, and only then
 * given to the node. What comes back is the business of `answers.ts`.
 *
 * Rule: nothing is sent without a `Permit` of the policy and schema in force, and nothing is sent that was not wholly understood.
 */
import { overloaded, Verdict } from '../base/bytes-budget.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { withoutAddresses } from '../cql/answers/addresses.ts'
import type { SchemaTarget } from '../cql/answers/schema-event.ts'
import { errorEnvelope, readyEnvelope } from '../cql/encode.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { CqlErrorCode, Flag, HEADER_BYTES, headerFlags, headerOpcode, headerStream, Opcode } from '../cql/protocol.ts'
import {
  BatchView,
  ExecuteView,
  type ParamsView,
  PrepareView,
  QueryView,
  readBatch,
  readExecute,
  readPrepare,
  readQuery,
  readRegister,
} from '../cql/requests.ts'
import { readError } from '../cql/responses.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import type { Denial, Permit } from '../policy/engine.ts'
import { permitOfAll } from '../policy/engine.ts'
import type { Backend, Client } from '../session/backend.ts'
import { cqlFault } from '../session/fault.ts'
import type { LoopShare } from '../session/loop-share.ts'
import type { Turn } from '../session/turn.ts'
import type { Logger } from '../telemetry/log.ts'
import type { Analyst } from './analyst.ts'
import { INLINE_TEXT_MAX } from './analyst.ts'
import { Answers } from './answers.ts'
import { batchFacts } from './batch.ts'
import { BoundValues } from './bound.ts'
import { type Asker, isSchemaQuestion, type SchemaQuestions } from './catalog/questions.ts'
import { seesTable } from './catalog/visible.ts'
import { checked, Partitions } from './checks.ts'
import type { SessionContext } from './context.ts'
import { type Descriptions, isDescription } from './describe/descriptions.ts'
import { Dispatch } from './dispatch.ts'
import { unknownId } from './envelopes.ts'
import type { EventHub } from './events.ts'
import { givenAnswer } from './given.ts'
import { HeldRequests, type KnownTexts } from './held.ts'
import { type IdentityState, type Judge, type Judged, refusePlacedOnce } from './judged.ts'
import { type BatchSteps, type BatchVerdict, judgeLargeBatch, PARTS_INLINE_MAX } from './large-batch.ts'
import type { UpstreamPool } from './pool.ts'
import { prepareRateRule } from './prepared.ts'
import { NO_SUCH_ID, NODE_REFUSED, type Recorder, ruleOfFault } from './recorder.ts'
import { mustRewrite, outgoing } from './rewrites.ts'
import type { Secrets } from './secrets.ts'
import { asksOnlyTopology, rewritesAddresses, rewritingRefusal, topologyRefusal } from './topology.ts'
import { NodeError } from './upstream.ts'

/** What all sessions of a sidecar share. */
export interface Shared {
  readonly turn: Turn
  readonly log: Logger
  readonly judge: Judge
  readonly pool: UpstreamPool
  readonly recorder: Recorder
  readonly events: EventHub
  readonly analyst: Analyst
  readonly secrets: Secrets
  readonly schema: SchemaNews
  readonly questions: SchemaQuestions
  readonly descriptions: Descriptions
  readonly share: 'mesh' | 'identity'
}

/** What a session tells and asks about the schema that the sidecar remembers. */
export interface SchemaNews {
  /** A statement of this sidecar's changed the schema of a keyspace. */
  changed(keyspace: string): void
  /** Resolves when the schema was read again from its beginning; rejects when the node is away. */
  fresh(): Promise<void>
  /** See `SchemaWatch`. */
  readonly doubtful: boolean
  doubts(facts: StatementFacts, tables: readonly string[]): boolean
  changing(facts: StatementFacts): () => void
  settled(): Promise<void>
  baseOf(keyspace: string, view: string): string | undefined
}

export interface SessionOptions {
  readonly client: Client
  readonly version: ProtocolVersion
  /** The keyspace in force from the start; empty for none. Must have been judged by `mayUse`. */
  readonly keyspace: string
  readonly identity: IdentityState
  readonly context: SessionContext
  /** The record's part that is the same for the whole session. */
  readonly sessionPart: string
  /** The client came by a gateway, which shows it a topology of its own. */
  readonly topologyHidden: boolean
}

/** Of a request that has none. */
const NO_CONSISTENCY = -1

/** Where a request's custom payload stands; `payloadStart` is −1 where it has none. */
type PayloadPlace = { readonly payloadStart: number; readonly payloadEnd: number }

// Filled anew for each envelope; nothing of them is kept after the call.
const query = new QueryView()
const prepare = new PrepareView()
const execute = new ExecuteView()
const batch = new BatchView()
const values = new BoundValues()

/** What a request that is refused costs, record and answer; some hundred in a turn, and the rest waits. */
const REFUSAL_MS = 0.015

/** Thrown where a request has to wait for its client's next share of the loop. Nothing of it was sent. */
class PutOff {
  /** What was read of it by then. */
  readonly judged: Judged | undefined

  constructor(judged: Judged | undefined) {
    this.judged = judged
  }
}

/** The count of parts of a BATCH, a [short] behind the type; 0 where there is a custom payload in front, or nothing. */
function batchPartsCount(buffer: Buffer, start: number, end: number): number {
  const at = start + HEADER_BYTES + 1
  return end - at < 2 || (headerFlags(buffer, start) & Flag.CUSTOM_PAYLOAD) !== 0 ? 0 : buffer.readUInt16BE(at)
}

function nextStep(steps: BatchSteps, share: LoopShare): ReturnType<BatchSteps['next']> {
  try {
    return steps.next()
  } finally {
    share.end()
  }
}

export class EnforcedSession implements Backend {
  readonly #shared: Shared
  readonly #client: Client
  readonly #identity: IdentityState
  readonly #context: SessionContext
  readonly #version: ProtocolVersion
  readonly #sessionPart: string
  readonly #topologyHidden: boolean
  readonly #poolOwner: string
  readonly #held: HeldRequests
  /** Answers that a gateway sent with requests, by the client's stream. */
  readonly #given = new Map<number, Buffer>()
  readonly #dispatch: Dispatch
  readonly #asker: Asker
  /** What the other thread said of the texts of the request that is served now. */
  #known: KnownTexts
  /** The request that is served now, where it has waited: its bytes are ours already. */
  #own: Buffer | undefined
  /** What was found of the request that waits for its client's next share of the loop. */
  #found: { readonly request: Buffer; readonly judged: Judged } | undefined
  /** What became of the large BATCH that is served now. */
  #batchVerdict: BatchVerdict | undefined
  #closed = false

  constructor(shared: Shared, options: SessionOptions) {
    this.#shared = shared
    this.#client = options.client
    this.#identity = options.identity
    this.#context = options.context
    this.#version = options.version
    this.#sessionPart = options.sessionPart
    this.#topologyHidden = options.topologyHidden
    const poolOwner = shared.share === 'identity' ? options.identity.key : ''
    this.#poolOwner = poolOwner
    const owner = new Answers(shared, options, poolOwner, {
      keyspaceChanged: (keyspace) => this.#dispatch.adopt(keyspace),
      used: () => this.#letGo(),
      mayPrepare: (judged) => {
        const decision = this.#decideNow(judged, Opcode.PREPARE)
        return decision.kind === 'permit' && !shared.recorder.failed ? decision : undefined
      },
      sendPrepare: (upstream, permit, judged, envelope, owner) =>
        this.#dispatch.sendOn(upstream, permit, judged, Opcode.PREPARE, 0, envelope, 0, envelope.length, owner),
      again: (request, keyspace) => {
        if (this.#held.waiting || this.#dispatch.keyspace !== keyspace) return false
        this.#serveHeld(request, undefined)
        return true
      },
    })
    const { pool, turn } = shared
    this.#dispatch = new Dispatch({
      pool,
      turn,
      version: options.version,
      keyspace: options.keyspace,
      poolOwner,
      session: options,
      owner,
      account: options.client.account,
      changing: ({ facts }) => shared.schema.changing(facts),
      onCrowded: () => options.client.pause(),
    })
    this.#held = new HeldRequests(
      {
        serve: (request, known) => this.#serveHeld(request, known),
        refuse: (request, reason) => this.#refuse(request, reason),
        onCrowded: () => this.#client.pause(),
      },
      options.client.account,
    )
    const { client, identity, context, version, sessionPart } = options
    this.#asker = { client, identity, context, version, sessionPart, waiting: 0, closed: false }
    this.#identity.sessions++
  }

  /** Connects to the node, so that a client is told READY only when there is one. */
  open(): Promise<void> {
    return this.#dispatch.open()
  }

  request(buffer: Buffer, start: number, end: number): void {
    if (this.#given.size > 0) this.#given.delete(headerStream(buffer, start))
    this.#take(buffer, start, end)
  }

  /** A request with the answer that its gateway has for it, an envelope; see `given.ts`. */
  requestGiven(answer: Buffer, buffer: Buffer, start: number, end: number): void {
    this.#given.set(headerStream(buffer, start), answer)
    this.#take(buffer, start, end)
  }

  #take(buffer: Buffer, start: number, end: number): void {
    if (this.#held.waiting) this.#held.add(buffer, start, end)
    else this.#serve(buffer, start, end)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#asker.closed = true
    this.#held.drop()
    this.#identity.sessions--
    this.#shared.events.remove(this)
    this.#shared.recorder.disconnected(this.#sessionPart)
  }

  /** An event of the node that this session registered for. */
  onEvent(envelope: Buffer): void {
    this.#client.event(envelope, 0, envelope.length)
  }

  /** Whether the identity may hear that something became of this object. */
  sees({ target, keyspace, name }: SchemaTarget): boolean {
    const visibility = this.#shared.judge.visibility(this.#identity)
    if (target === 'TABLE') return seesTable(visibility, keyspace, name, this.#shared.schema.baseOf(keyspace, name))
    if (target === 'FUNCTION' || target === 'AGGREGATE') return visibility.function(keyspace, name)
    return visibility.keyspace(keyspace)
  }

  get version(): ProtocolVersion {
    return this.#version
  }

  #serve(buffer: Buffer, start: number, end: number): void {
    this.#refuseUnrecorded()
    const opcode = headerOpcode(buffer, start)
    try {
      this.#judgeAndForward(opcode, buffer, start, end)
    } catch (reason) {
      if (reason instanceof PutOff) {
        this.#putOff(reason.judged, buffer, start, end)
        return
      }
      const { code, message } = cqlFault(reason)
      this.#shared.recorder.refused(this.#sessionPart, opcode, ruleOfFault(reason), code, message, end - start)
      this.#identity.share.charge(REFUSAL_MS)
      throw reason
    } finally {
      // What waits is served with it later.
      if (this.#given.size > 0 && !this.#held.waiting) this.#given.delete(headerStream(buffer, start))
    }
  }

  /** The client has had its share of this turn: the request is served in a later one, and what comes behind it waits. */
  #putOff(judged: Judged | undefined, buffer: Buffer, start: number, end: number): void {
    const request = this.#ownCopy(buffer, start, end)
    this.#found = judged === undefined ? undefined : { request, judged }
    const known = this.#known
    this.#holdBack(request)
    this.#identity.share.later(() => this.#letGo(known))
  }

  /** Waits, and reads nothing more of its client meanwhile. */
  #holdBack(request: Buffer): void {
    this.#held.begin(request)
    this.#client.halt(true)
  }

  #letGo(known?: KnownTexts): void {
    this.#held.letGo(known)
    if (!this.#held.waiting) this.#client.halt(false)
  }

  #failFirst(reason: unknown): void {
    this.#held.failFirst(reason)
    if (!this.#held.waiting) this.#client.halt(false)
  }

  #ownCopy(buffer: Buffer, start: number, end: number): Buffer {
    return buffer === this.#own && start === 0 && end === buffer.length
      ? buffer
      : Buffer.from(buffer.subarray(start, end))
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
        this.#shared.recorder.registered(this.#sessionPart)
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
    if (prepared === undefined) this.#unprepared(buffer.subarray(execute.idStart, execute.idEnd), buffer, start, end)
    else if (prepared.judged.placedLate) this.#placed(prepared.judged, execute.params, execute, buffer, start, end)
    else this.#obey(prepared.judged, Opcode.EXECUTE, execute.params, execute, buffer, start, end)
  }

  #query(buffer: Buffer, start: number, end: number): void {
    readQuery(query, buffer, start, end, this.#version, headerFlags(buffer, start))
    const judged = this.#foundOf(buffer) ?? this.#judged(query.text, query.params.keyspace ?? this.#dispatch.keyspace)
    if (judged === undefined) this.#readElsewhere([query.text], buffer, start, end)
    else if (judged.placedLate) this.#placed(judged, query.params, query, buffer, start, end)
    else this.#obey(judged, Opcode.QUERY, query.params, query, buffer, start, end)
  }

  /** Judged where the node runs it; see `isPlacedLate`. */
  #placed({ text }: Judged, params: ParamsView, view: PayloadPlace, buffer: Buffer, start: number, end: number): void {
    const judged = this.#judged(text, this.#dispatch.keyspace)
    if (judged !== undefined && headerOpcode(buffer, start) === Opcode.EXECUTE) refusePlacedOnce(judged.facts)
    if (judged === undefined) this.#readElsewhere([text], buffer, start, end)
    else this.#obey(judged, headerOpcode(buffer, start), params, view, buffer, start, end)
  }

  /** DESCRIBE of what may be seen is answered here (`describe/`); what comes meanwhile waits. */
  #describe(judged: Judged, opcode: number, buffer: Buffer, start: number, end: number): void {
    const { account } = this.#client
    if (account.take(end - start) === Verdict.REFUSE) throw overloaded()
    this.#held.begin()
    const request = Buffer.from(buffer.subarray(start, end))
    const asker = {
      client: this.#client,
      identity: this.#identity,
      version: this.#version,
      sessionPart: this.#sessionPart,
      keyspace: this.#dispatch.keyspace,
      poolOwner: this.#poolOwner,
      isClosed: () => this.#closed,
      decide: (params: ParamsView) =>
        this.#decideNow(judged, opcode, params.consistency, values.ofRequest(params, judged.facts.markers)),
      deny: (denial: Denial) => this.#deny(denial, judged, opcode, NO_CONSISTENCY, request, 0, request.length),
    }
    this.#shared.descriptions.serve(asker, judged, opcode, request).then(() => {
      account.give(request.length)
      this.#letGo()
    })
  }

  #prepare(buffer: Buffer, start: number, end: number): void {
    readPrepare(prepare, buffer, start, end, this.#version, headerFlags(buffer, start))
    const judged = this.#foundOf(buffer) ?? this.#judged(prepare.text, prepare.keyspace ?? this.#dispatch.keyspace)
    if (judged === undefined) this.#readElsewhere([prepare.text], buffer, start, end)
    else this.#obey(judged, Opcode.PREPARE, undefined, prepare, buffer, start, end)
  }

  /** Undefined for a text that is too long to be read here and was not read elsewhere yet. */
  #judged(text: string, keyspace: string): Judged | undefined {
    const { judge } = this.#shared
    const known = judge.remembered(this.#identity, text, keyspace)
    if (known !== undefined) return known
    const analysed = this.#known?.get(text)
    if (analysed === undefined && text.length > INLINE_TEXT_MAX) return undefined
    if (analysed !== undefined && 'code' in analysed) throw new RingfenceError(analysed.code, analysed.message)
    const { share } = this.#identity
    if (!share.begin()) throw new PutOff(undefined)
    try {
      return judge.read(this.#identity, text, keyspace, analysed?.facts)
    } finally {
      share.end()
    }
  }

  #foundOf(request: Buffer): Judged | undefined {
    const found = this.#found
    return found?.request === request ? found.judged : undefined
  }

  /** The decision now in force; `bound` are the values of the request where it has some. Throws `PutOff` where it has to wait. */
  #decide(judged: Judged, opcode: number, consistency: number, bound: BoundValues | undefined): Permit | Denial {
    const decision = this.#decideWithin(judged, opcode, consistency, bound)
    if (decision === undefined) throw new PutOff(judged)
    return decision
  }

  /** Without waiting: of a statement that was decided on already, but for a policy that came meanwhile. */
  #decideNow(judged: Judged, opcode: number, consistency = 0, bound?: BoundValues): Permit | Denial {
    const { judge } = this.#shared
    return judge.current(this.#identity, judged, this.#context.set(opcode, consistency, judged.facts, bound))
  }

  #decideWithin(
    judged: Judged,
    opcode: number,
    consistency: number,
    bound: BoundValues | undefined,
  ): Permit | Denial | undefined {
    const { judge } = this.#shared
    if (judge.settled(this.#identity, judged)) return judged.decision
    const { share } = this.#identity
    return judge.currentWithin(
      share,
      this.#identity,
      judged,
      this.#context.set(opcode, consistency, judged.facts, bound),
    )
  }

  /** What becomes of a statement that was read: refused, forwarded, or for USE the move to another connection. */
  #obey(
    judged: Judged,
    opcode: number,
    params: ParamsView | undefined,
    view: PayloadPlace,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    if (this.#shared.schema.doubtful && this.#awaitSchema(judged, buffer, start, end)) return
    const bound = params === undefined ? undefined : values.ofRequest(params, judged.facts.markers)
    const consistency = params?.consistency ?? 0
    let decision = this.#decide(judged, opcode, consistency, bound)
    if (decision.kind === 'permit') {
      const given = this.#given.size === 0 ? undefined : this.#given.get(headerStream(buffer, start))
      if (given !== undefined) {
        if (bound !== undefined) decision = checked(this.#shared.judge, this.#identity, decision, bound)
        if (decision.kind === 'permit')
          this.#giveGiven(given, decision, judged, opcode, consistency, buffer, start, end)
        else this.#deny(decision, judged, opcode, consistency, buffer, start, end)
        return
      }
      if (this.#topologyHidden && judged.namesTopology) {
        if (opcode !== Opcode.EXECUTE) throw topologyRefusal()
        // Prepared at another worker of the gateway, which this one does not know of: the driver prepares again.
        this.#unprepared(buffer.subarray(execute.idStart, execute.idEnd), buffer, start, end)
        return
      }
      if (this.#topologyHidden && judged.showsAddresses) {
        if (rewritesAddresses(judged.facts)) throw rewritingRefusal()
        decision = decision.hidingAddresses()
      }
      if (judged.unknownTable && this.#lookUp(judged, buffer, start, end)) return
      if (bound !== undefined) decision = checked(this.#shared.judge, this.#identity, decision, bound)
    }
    if (decision.kind === 'denial') {
      if (decision.invalid === true && this.#lookUp(judged, buffer, start, end)) return
      if (this.#identity.share.exhausted) throw new PutOff(judged)
      this.#deny(decision, judged, opcode, consistency, buffer, start, end)
    } else if (opcode === Opcode.PREPARE && !this.#identity.prepared.admits(judged, this.#shared.turn.nowMicros())) {
      this.#shed(judged, opcode, buffer, start, end)
    } else if (judged.facts.use !== undefined && opcode !== Opcode.PREPARE) {
      this.#use(judged, opcode, this.#rewritten(decision, judged, opcode, params, view, buffer, start, end))
    } else if (isSchemaQuestion(judged, decision)) {
      this.#askHere(decision, judged, opcode, view, buffer, start, end)
    } else if (params !== undefined && isDescription(judged, decision)) {
      this.#describe(judged, opcode, buffer, start, end)
    } else this.#forward(decision, judged, opcode, consistency, params, view, buffer, start, end)
  }

  /** A question about the schema of one who may not see all of it: the node prepares it, and it is answered here (`catalog/`). */
  #askHere(
    permit: Permit,
    judged: Judged,
    opcode: number,
    view: PayloadPlace,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    const { questions, turn } = this.#shared
    questions.check(judged)
    if (opcode === Opcode.PREPARE) this.#forward(permit, judged, opcode, 0, undefined, view, buffer, start, end)
    else if (!questions.knows(judged) && !this.#identity.prepared.admits(judged, turn.nowMicros())) {
      this.#shed(judged, opcode, buffer, start, end)
    } else questions.take(this.#asker, judged, opcode, buffer, start, end)
  }

  /** The answer came with the request from the gateway, and is given as the node's would be. */
  #giveGiven(
    given: Buffer,
    permit: Permit,
    judged: Judged,
    opcode: number,
    consistency: number,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    const { recorder, secrets } = this.#shared
    if (!asksOnlyTopology(judged.facts)) throw topologyRefusal()
    const question = { version: this.#version, opcode, judged, permit, identity: this.#identity }
    const answer = givenAnswer(question, secrets, buffer.subarray(start, end), given)
    if (answer === undefined) throw new RingfenceError('INVALID', 'the gateway gave what is no answer to this')
    const { envelope, code, message, rows } = answer
    const level = opcode === Opcode.PREPARE ? NO_CONSISTENCY : consistency
    const [bytesIn, bytesOut] = [end - start, envelope.length]
    recorder.answeredHere(
      this.#sessionPart,
      this.#identity,
      judged,
      permit,
      opcode,
      level,
      code,
      message,
      rows,
      bytesIn,
      bytesOut,
      0,
    )
    this.#client.answer(envelope, 0, envelope.length, headerStream(buffer, start))
  }

  /** All or nothing: one part refused, and nothing is forwarded. */
  #batch(buffer: Buffer, start: number, end: number): void {
    const verdict = this.#batchVerdict
    if (verdict !== undefined) {
      this.#obeyBatch(verdict, buffer, start, end)
      return
    }
    if (batchPartsCount(buffer, start, end) > PARTS_INLINE_MAX) {
      this.#judgeLargeBatch(buffer, start, end)
      return
    }
    readBatch(batch, buffer, start, end, this.#version, headerFlags(buffer, start))
    let characters = 0
    for (const { text } of batch.parts) characters += text?.length ?? 0
    if (characters > INLINE_TEXT_MAX) {
      this.#judgeLargeBatch(buffer, start, end)
      return
    }
    const keyspace = batch.keyspace ?? this.#dispatch.keyspace
    const parts = this.#batchParts(keyspace, buffer, start, end)
    if (parts === undefined) return
    const whole = this.#shared.judge.whole(batchFacts(parts, batch.type), keyspace, parts)
    if (this.#shared.schema.doubtful && this.#awaitSchema(whole, buffer, start, end)) return
    const partitions = new Partitions(this.#shared.judge, parts, batch)
    const permits: Permit[] = []
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i]!
      const bound = values.ofPart(batch, batch.parts[i]!, part.facts.markers, partitions)
      let decision = this.#decide(part, Opcode.BATCH, batch.consistency, bound)
      if (decision.kind === 'permit') {
        if (part.unknownTable && this.#lookUp(part, buffer, start, end)) return
        decision = checked(this.#shared.judge, this.#identity, decision, bound)
      }
      if (decision.kind === 'denial') {
        decision = this.#shared.judge.nothingThere(whole) ?? decision
        if (decision.invalid === true && this.#lookUp(part, buffer, start, end)) return
        this.#deny(decision, whole, Opcode.BATCH, batch.consistency, buffer, start, end)
        return
      }
      permits.push(decision)
    }
    // Conditions of a BATCH answer with more than each of them would alone.
    if (whole.facts.conditional) {
      const answered = this.#decide(whole, Opcode.BATCH, batch.consistency, undefined)
      if (answered.kind === 'denial') {
        this.#deny(answered, whole, Opcode.BATCH, batch.consistency, buffer, start, end)
        return
      }
      permits.push(answered)
    }
    this.#finishBatch(permitOfAll(permits), whole, batch, buffer, start, end)
  }

  #finishBatch(
    ofParts: Permit | Denial | undefined,
    whole: Judged,
    view: BatchView,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    const decision =
      (ofParts?.kind === 'denial' ? undefined : this.#shared.judge.untold(this.#identity, whole)) ??
      ofParts ??
      this.#decide(whole, Opcode.BATCH, view.consistency, undefined)
    if (decision.kind === 'denial') this.#deny(decision, whole, Opcode.BATCH, view.consistency, buffer, start, end)
    else this.#forward(decision, whole, Opcode.BATCH, view.consistency, undefined, view, buffer, start, end)
  }

  /** The statements of the batch in `batch`; undefined when it was answered. */
  #batchParts(keyspace: string, buffer: Buffer, start: number, end: number): Judged[] | undefined {
    const parts: Judged[] = []
    for (const part of batch.parts) {
      const known =
        part.text === undefined
          ? this.#identity.prepared.find(buffer, part.idStart, part.idEnd)?.judged
          : this.#judged(part.text, keyspace)
      if (known === undefined) {
        this.#unprepared(buffer.subarray(part.idStart, part.idEnd), buffer, start, end)
        return undefined
      }
      parts.push(known)
    }
    return parts
  }

  /** Piece by piece, while what comes behind it waits (`large-batch.ts`). */
  #judgeLargeBatch(buffer: Buffer, start: number, end: number): void {
    const request = this.#ownCopy(buffer, start, end)
    const { judge, analyst, schema } = this.#shared
    this.#holdBack(request)
    const steps = judgeLargeBatch(
      {
        judge,
        identity: this.#identity,
        version: this.#version,
        keyspaceInForce: this.#dispatch.keyspace,
        analyse: (texts) => analyst.analyse(texts),
        decide: (part, consistency, bound) => this.#decideWithin(part, Opcode.BATCH, consistency, bound),
        freshSchema: () => schema.fresh().catch(() => {}),
      },
      request,
    )
    this.#goOn(steps)
  }

  /** Further steps of a large BATCH, as far as the client's share of this turn goes. */
  #goOn(steps: BatchSteps): void {
    const { share } = this.#identity
    try {
      while (!this.#closed) {
        if (!share.begin()) {
          share.later(() => this.#goOn(steps))
          return
        }
        const step = nextStep(steps, share)
        if (step.done === true) {
          this.#batchVerdict = step.value
          this.#letGo()
          return
        }
        if (step.value !== undefined) {
          step.value.then(
            () => this.#goOn(steps),
            (reason: unknown) => this.#failFirst(reason),
          )
          return
        }
      }
    } catch (reason) {
      this.#failFirst(reason)
    }
  }

  #obeyBatch(
    { view, epoch, whole, unknownId, decision }: BatchVerdict,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    const { judge } = this.#shared
    // Something may have changed since: in the turn of a policy's coming, or at the end of the hours in which it may run.
    const isOver = decision?.kind === 'permit' && !judge.inForce(decision)
    if (epoch !== judge.epoch || isOver) this.#judgeLargeBatch(buffer, start, end)
    else if (whole === undefined) this.#unprepared(unknownId ?? Buffer.alloc(0), buffer, start, end)
    else if (this.#shared.schema.doubtful && this.#awaitSchema(whole, buffer, start, end)) return
    else this.#finishBatch(decision, whole, view, buffer, start, end)
  }

  /** The other thread reads the texts; the request is served again with what it says, and what comes meanwhile waits. */
  #readElsewhere(texts: readonly string[], buffer: Buffer, start: number, end: number): void {
    assert(this.#known === undefined, 'a text is read elsewhere once')
    this.#holdBack(this.#ownCopy(buffer, start, end))
    this.#shared.analyst.analyse(texts).then(
      (analysed) => this.#letGo(new Map(texts.map((text, index) => [text, analysed[index]!]))),
      (reason: unknown) => this.#failFirst(reason),
    )
  }

  /** A table that is not known may have been made a moment ago: the schema is read again, once for each change of it. */
  #lookUp(judged: Judged, buffer: Buffer, start: number, end: number): boolean {
    if (judged.lookedUp === judged.epoch) return false
    judged.lookedUp = judged.epoch
    this.#held.begin(Buffer.from(buffer.subarray(start, end)))
    const known = this.#known
    this.#shared.schema.fresh().then(
      () => this.#letGo(known),
      () => this.#letGo(known),
    )
    return true
  }

  /** What it is about has changed, or is changing, since the schema was read (`schema/doubts.ts`): it is judged when that was read. */
  #awaitSchema(judged: Judged, buffer: Buffer, start: number, end: number): boolean {
    const { judge, schema } = this.#shared
    judge.findTables(judged)
    if (!schema.doubts(judged.facts, judged.tables)) return false
    this.#held.begin(this.#ownCopy(buffer, start, end))
    const known = this.#known
    schema.settled().then(
      () => this.#letGo(known),
      (reason: unknown) => this.#failFirst(reason),
    )
    return true
  }

  #forward(
    permit: Permit,
    judged: Judged,
    opcode: number,
    consistency: number,
    params: ParamsView | undefined,
    view: PayloadPlace,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    if (mustRewrite(view, params, permit, headerFlags(buffer, start))) {
      const request = this.#rewritten(permit, judged, opcode, params, view, buffer, start, end)
      if (!this.#dispatch.send(permit, judged, opcode, consistency, request, 0, request.length)) this.#reopen(request)
    } else if (!this.#dispatch.send(permit, judged, opcode, consistency, buffer, start, end)) {
      this.#reopen(Buffer.from(buffer.subarray(start, end)))
    }
  }

  /** A copy of the request as the node may have it. */
  #rewritten(
    permit: Permit,
    judged: Judged,
    opcode: number,
    params: ParamsView | undefined,
    view: PayloadPlace,
    buffer: Buffer,
    start: number,
    end: number,
  ): Buffer {
    const copy = Buffer.from(buffer.subarray(start, end))
    if (!mustRewrite(view, params, permit, headerFlags(buffer, start))) return copy
    const place = { payloadStart: view.payloadStart - start, payloadEnd: view.payloadEnd - start }
    const mayTrace = (): boolean =>
      this.#shared.judge.mayTrace(this.#identity, (judgedTraces) =>
        this.#context.set(Opcode.QUERY, 0, judgedTraces, undefined),
      )
    const payload = view.payloadStart < 0 ? undefined : place
    const passage = { version: this.#version, opcode, judged, permit, identity: this.#identity }
    return outgoing(passage, payload, copy, this.#shared.secrets, mayTrace)
  }

  /** No connection to the node is open: requests wait for one, a bounded number of them, for the time of a handshake. */
  #reopen(first: Buffer): void {
    this.#held.begin(first)
    this.open().then(
      () => this.#letGo(),
      (reason: unknown) => {
        this.#shared.log.warn({ reason: String(reason) }, 'no connection to the node')
        this.#client.halt(false)
        this.#held.failAll(new RingfenceError('UNAVAILABLE', 'the node behind this sidecar is not reachable'))
      },
    )
  }

  #serveHeld(request: Buffer, known: KnownTexts): void {
    if (this.#closed) return
    this.#known = known
    this.#own = request
    try {
      this.#take(request, 0, request.length)
    } catch (reason) {
      this.#client.fault(reason, headerStream(request, 0))
    } finally {
      this.#known = undefined
      this.#own = undefined
      this.#batchVerdict = undefined
      if (this.#found?.request === request && !this.#held.waiting) this.#found = undefined
    }
  }

  #refuse(request: Buffer, fault: unknown): void {
    const { code, message } = cqlFault(fault)
    const opcode = headerOpcode(request, 0)
    this.#shared.recorder.refused(this.#sessionPart, opcode, ruleOfFault(fault), code, message, request.length)
    this.#client.fault(fault, headerStream(request, 0))
  }

  /**
   * USE: the session moves to a connection whose keyspace that is. The keyspace in force changes with the node's own SET_KEYSPACE
   * only (data-access trap 5); what comes meanwhile waits.
   */
  #use(judged: Judged, opcode: number, request: Buffer): void {
    this.#held.begin()
    this.#moveTo(judged, opcode, request)
  }

  /** What comes waits already. */
  #moveTo(judged: Judged, opcode: number, request: Buffer): void {
    const stream = headerStream(request, 0)
    this.#dispatch.connectionFor(judged.facts.use ?? '').then(
      (upstream) => {
        if (this.#closed) return
        // It was given up for a new certificate before it could be used: what is sent on it would get no answer.
        if (!upstream.usable) {
          this.#moveTo(judged, opcode, request)
          return
        }
        try {
          this.#refuseUnrecorded()
          const decision = this.#decideNow(judged, opcode)
          if (decision.kind === 'permit') {
            this.#dispatch.sendOn(upstream, decision, judged, opcode, 0, request, 0, request.length)
            return
          }
          this.#deny(decision, judged, opcode, NO_CONSISTENCY, request, 0, request.length)
        } catch (reason) {
          this.#client.fault(reason, stream)
        }
        this.#letGo()
      },
      (reason: unknown) => {
        if (this.#closed) return
        if (reason instanceof NodeError) {
          const code = readError(reason.envelope, 0, reason.envelope.length).code
          const envelope = this.#topologyHidden ? this.#withoutAddresses(reason.envelope) : reason.envelope
          this.#client.answer(envelope, 0, envelope.length, stream)
          this.#shared.recorder.refused(this.#sessionPart, opcode, NODE_REFUSED, code, reason.message, request.length)
        } else {
          this.#client.fault(new RingfenceError('UNAVAILABLE', 'the node behind this sidecar is not reachable'), stream)
        }
        this.#letGo()
      },
    )
  }

  #withoutAddresses(envelope: Buffer): Buffer {
    return withoutAddresses(envelope, 0, envelope.length, this.#version) ?? envelope
  }

  /** The node's cache of prepared statements is everyone's: what one identity adds to it is bounded (see `prepared.ts`). */
  #shed(judged: Judged, opcode: number, buffer: Buffer, start: number, end: number): void {
    const text = `new statements are prepared faster than preparesPerSecondMax ${limits.preparesPerSecondMax}`
    const denial = this.#shared.judge.refusal(this.#identity, prepareRateRule, text)
    this.#deny(denial, judged, opcode, NO_CONSISTENCY, buffer, start, end, CqlErrorCode.OVERLOADED)
  }

  #deny(
    denial: Denial,
    judged: Judged,
    opcode: number,
    consistency: number,
    buffer: Buffer,
    start: number,
    end: number,
    code: number = denial.invalid === true ? CqlErrorCode.INVALID : CqlErrorCode.UNAUTHORIZED,
  ): void {
    const stream = headerStream(buffer, start)
    this.#identity.share.charge(REFUSAL_MS)
    const envelope = errorEnvelope(this.#version, stream, code, denial.reason)
    const { recorder } = this.#shared
    const [bytesIn, bytesOut] = [end - start, envelope.length]
    recorder.denied(this.#sessionPart, this.#identity, judged, denial, code, opcode, consistency, bytesIn, bytesOut)
    this.#client.answer(envelope, 0, envelope.length, stream)
  }

  #unprepared(id: Buffer, buffer: Buffer, start: number, end: number): void {
    const stream = headerStream(buffer, start)
    const envelope = unknownId(this.#version, stream, id)
    const opcode = headerOpcode(buffer, start)
    const { recorder } = this.#shared
    recorder.refused(this.#sessionPart, opcode, NO_SUCH_ID, CqlErrorCode.UNPREPARED, 'unknown prepared id', end - start)
    this.#client.answer(envelope, 0, envelope.length, stream)
  }
}
