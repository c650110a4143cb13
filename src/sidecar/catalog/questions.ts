/**
 * Questions about the schema of those who may not see all of it. Each is answered here as if only what the identity may see existed, to the
 * last aggregate, page and empty answer: out of the node's own tables, less the rows of what is hidden.
 *
 *   question ─▶ tree ─▶ the node's word on it (PREPARE) ─▶ rows as new as the question ─▶ decided again ─▶ rows that exist ─▶ answer
 *
 * Rule: nothing that the node *computed* over hidden rows gets out: of the node only whole rows, columns of answers and refusals of a
 * statement's text are taken.
 */

import { createHash } from 'node:crypto'
import type { Transactions } from '../../audit/transactions.ts'
import { Verdict } from '../../base/bytes-budget.ts'
import { ConcurrencyLimit } from '../../base/concurrency-limit.ts'
import { type Owner, unawaited } from '../../base/contained.ts'
import { Counts } from '../../base/counts.ts'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { errorEnvelope } from '../../cql/encode.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import { Consistency, Opcode, type ProtocolVersion } from '../../cql/protocol.ts'
import { boundBytesMax } from '../../cql/query/expressions.ts'
import type { OutputColumn } from '../../cql/query/plan.ts'
import { planOf } from '../../cql/query/plan.ts'
import { readSelect } from '../../cql/query/read.ts'
import { type RowsReply, replyEnvelope } from '../../cql/query/reply.ts'
import { run } from '../../cql/query/run.ts'
import { stampsOf } from '../../cql/query/stamps.ts'
import type { Table } from '../../cql/query/table.ts'
import type { SelectTree } from '../../cql/query/tree.ts'
import { unsupported } from '../../cql/query/unsupported.ts'
import { ExecuteView, type ParamsView, QueryView, readExecute } from '../../cql/requests.ts'
import type { Prepared } from '../../cql/responses.ts'
import type { Denial, Permit } from '../../policy/engine.ts'
import type { Client } from '../../session/backend.ts'
import { heldObjectBytes } from '../../session/held.ts'
import type { Turn } from '../../session/turn.ts'
import { inlineTextMax } from '../analyst.ts'
import { askedFault } from '../asked-fault.ts'
import { BoundValues } from '../bound.ts'
import { checked } from '../checks.ts'
import type { SessionContext } from '../context.ts'
import { answerHere, clientLeft, deny, failed, lost, refuseUnrecorded, unrecorded, unwritten } from '../ending.ts'
import type { IdentityState, Judge, Judged } from '../judged.ts'
import type { Request } from '../request.ts'
import { maskedInSlices, paramsOf, sealContext, withObserved } from '../rewrites.ts'
import type { Ask } from '../schema/load.ts'
import type { Secrets } from '../secrets.ts'
import { hasLongValues } from '../values-digest.ts'
import { AskedColumns } from './columns.ts'
import { Slices } from './slices.ts'
import { keysMax, SchemaTables } from './tables.ts'
import { type BaseOf, existing, type SchemaTable, schemaTable } from './visible.ts'

export interface QuestionHost {
  readonly ask: Ask
  readonly judge: Judge
  readonly transactions: Transactions
  readonly secrets: Secrets
  readonly turn: Turn
  /** Of a view as it was last read, or was a moment before. */
  readonly baseOf: BaseOf
}

/** Who asks. */
export interface Asker extends Owner {
  readonly client: Client
  readonly identity: IdentityState
  readonly context: SessionContext
  readonly version: ProtocolVersion
  readonly topologyHidden: boolean
  /** Questions of the session that wait. */
  questionsWaiting: number
  readonly closed: boolean
}

/** A keyspace that cannot be. */
const nothing: readonly Buffer[] = [Buffer.of(0)]
/** Questions at once whose rows are read for them alone: in all, and of one identity. */
const ownMax = 8
const ownPerIdentityMax = 2
/** Answers that are made anew where the policy changed meanwhile. */
const triesMax = 3
/** Rule that refuses what cannot be answered so. */
const visibleObjects = 'visible-objects'

export class SchemaQuestions {
  readonly #host: QuestionHost
  readonly #tables: SchemaTables
  readonly #columns: AskedColumns
  readonly #slices = new Slices()
  readonly #own = new ConcurrencyLimit<object>(ownMax, ownPerIdentityMax)
  /** v5: the id of its columns that the node gave with the statement. */
  readonly #metadataIds = new WeakMap<Judged, Buffer>()
  #waiting = 0
  readonly #waitingOf = new Counts<object>()

  constructor(host: QuestionHost) {
    this.#host = host
    this.#tables = new SchemaTables(host.ask)
    this.#columns = new AskedColumns(host.ask)
  }

  /**
   * Looks at a statement before the node is asked to prepare it for a client: what names things of users' own, such as types, must not be
   * answered by the node.
   * @throws RingfenceError INVALID for what is not answered here
   */
  check({ text }: Judged): void {
    treeOf(text)
  }

  /** The node prepared a question for a client. */
  prepared(judged: Judged, { resultMetadataId }: Prepared): void {
    if (resultMetadataId !== undefined) this.#metadataIds.set(judged, resultMetadataId)
  }

  /** Whether the node has said already what it says of this. */
  knows(judged: Judged): boolean {
    return this.#columns.has(judged.text)
  }

  /**
   * Answers a QUERY or EXECUTE whose permit says `visibleOnly`; later.
   * @throws RingfenceError OVERLOADED where too many wait
   */
  take(asker: Asker, request: Request): void {
    const who = asker.identity.share
    const own = this.#waitingOf.of(who)
    // Each identity leaves as much again as it takes.
    const isFull = own >= limits.schemaQuestionsMax - this.#waiting
    if (isFull || asker.questionsWaiting >= limits.schemaQuestionsPerSessionMax) {
      throw new RingfenceError('OVERLOADED', 'schemaQuestionsMax reached')
    }
    const { account } = asker.client
    if (account.take(request.byteCount + heldObjectBytes) === Verdict.REFUSE) {
      throw new RingfenceError('OVERLOADED', 'too many bytes wait for this connection')
    }
    this.#waiting++
    this.#waitingOf.more(who)
    asker.questionsWaiting++
    request.hold()
    this.#host.transactions.begun(request)
    request.begin(this.#host.turn.nowMicros())
    unawaited(asker, 'a question about the schema', this.#wait(asker, request, who))
  }

  async #wait(asker: Asker, request: Request, who: object): Promise<void> {
    try {
      await this.#serve(asker, request)
    } finally {
      this.#waiting--
      this.#waitingOf.less(who)
      asker.questionsWaiting--
      asker.client.account.give(request.byteCount + heldObjectBytes)
    }
  }

  async #serve(asker: Asker, request: Request): Promise<void> {
    const { client, version, topologyHidden } = asker
    const ending = { ...this.#host, client, version, topologyHidden }
    let isOver = false
    try {
      const answered = await this.#answer(asker, request)
      if (asker.closed) {
        lost(request, this.#host, clientLeft)
        return
      }
      refuseUnrecorded(this.#host)
      request.latencyMicros = request.ageMicros(this.#host.turn.nowMicros())
      isOver = true
      if (answered.kind === 'denial') {
        request.latencyMicros = 0
        deny(request, ending, answered)
        return
      }
      request.permit = answered.permit
      const { envelope, rowCount } = answered
      answerHere(request, ending, { envelope, code: -1, message: '', rowCount })
    } catch (reason) {
      if (asker.closed) {
        if (!isOver) lost(request, this.#host, clientLeft)
        return
      }
      // What was found out meanwhile would be on record in memory only.
      if (this.#host.transactions.blocked) {
        if (!isOver) lost(request, this.#host, unwritten)
        asker.client.fault(unrecorded(), request.stream)
        return
      }
      const { code, message, ours } = askedFault(reason)
      if (ours) {
        failed(request, ending, reason)
        asker.client.fault(reason, request.stream)
        return
      }
      request.latencyMicros = request.ageMicros(this.#host.turn.nowMicros())
      const envelope = errorEnvelope(asker.version, request.stream, code, message)
      answerHere(request, ending, { envelope, code, message, rowCount: -1 })
    }
  }

  async #answer(asker: Asker, question: Request): Promise<Denial | Answered> {
    const { version, identity } = asker
    const judged = question.judged!
    const tree = treeOf(judged.text)
    const named = schemaTable(judged.facts.keyspace, judged.facts.table)
    const columns = await this.#columns.of(qualified(tree, judged), question.permit!)
    // The node knows it, and it is not known here which of its rows may be seen.
    if (named === undefined) return this.#host.judge.refusal(identity, visibleObjects, unanswerable)
    const params = paramsOf({ opcode: question.opcode, version }, question.view(), new QueryView(), new ExecuteView())!
    if (params.consistency === Consistency.ANY) {
      throw new RingfenceError('INVALID', 'ANY ConsistencyLevel is only supported for writes')
    }
    // Before anything looks at them.
    if (hasLongValues(params)) throw unsupported(`values of more than ${boundBytesMax} bytes`)
    const values = new BoundValues().ofRequest(params, judged.facts.markers)
    // There may be another policy now, and after each further wait.
    await this.#host.judge.ready(identity)
    const keys = this.#seenOf(identity, keysOf(tree, values))
    const wanted = { table: named, stamps: stampsOf(tree), keys }
    const answer = async (): Promise<Denial | Answered> => {
      const table = await this.#tables.read(wanted)
      const bases = await this.#tables.bases(named, keys)
      // A view may have gone between the two readings.
      const baseOf: BaseOf = (keyspace, view) => bases(keyspace, view) ?? this.#host.baseOf(keyspace, view)
      return await this.#decided(asker, question, { tree, named, table, baseOf, columns, params, values })
    }
    // Rows that are read for one question alone are in memory until it is answered.
    return this.#tables.isOwn(wanted) ? await this.#own.run(identity.share, answer) : await answer()
  }

  /** The keyspaces of which there is something to read: what is hidden takes no more time than what is not there. */
  #seenOf(identity: IdentityState, keys: readonly Buffer[] | undefined): readonly Buffer[] | undefined {
    if (keys === undefined) return undefined
    const visibility = this.#host.judge.visibility(identity)
    const seen = keys.filter((key) => visibility.keyspace(key.toString()))
    return seen.length > 0 ? seen : nothing
  }

  /** The answer, decided by the policy that is in force when it is made. */
  async #decided(asker: Asker, question: Request, parts: Parts): Promise<Denial | Answered> {
    const { tree, params, values } = parts
    const { judge } = this.#host
    for (let tries = 0; tries < triesMax; tries++) {
      await this.#ready(asker, question, params, values)
      // The policy may be another one than when the question came; what it says now counts.
      const decision = this.#decide(asker, question, params, values)
      if (decision.kind === 'denial') return decision
      refuseUnrecorded(this.#host)
      const made = await this.#make(asker, question, decision, parts)
      await this.#ready(asker, question, params, values)
      if (made === undefined) {
        this.#columns.forget(qualified(tree, question.judged!))
        break
      }
      const now = this.#decide(asker, question, params, values)
      if (now.kind === 'denial') return now
      // Not told by the revision: a restored control plane may give its number to another text.
      if (judge.inForce(decision)) return made
    }
    throw new RingfenceError('OVERLOADED', 'policy or the node’s tables changed while this was answered; ask again')
  }

  /** Undefined where the node said other columns than are found. */
  async #make(
    asker: Asker,
    question: Request,
    permit: Permit,
    { tree, named, table, baseOf, columns, params, values }: Parts,
  ): Promise<Answered | undefined> {
    const { identity, version } = asker
    const { judge, secrets } = this.#host
    const { opcode, stream } = question
    const judged = question.judged!
    // A state of ours is none of the node's, and the other way round.
    const plain = sealContext({ judged, identity }, params)
    const context = { ...plain, textDigest: createHash('sha256').update('made here').update(plain.textDigest).digest() }
    const sealed =
      params.pagingStateStart < 0 ? undefined : params.buffer.subarray(params.pagingStateStart, params.pagingStateEnd)
    const state = sealed === undefined ? undefined : secrets.seal.open(sealed, context)
    if (sealed !== undefined && state === undefined)
      throw new RingfenceError('INVALID', 'Invalid value for the paging state')
    const visibility = judge.visibility(identity)
    const pageRows = Math.max(0, params.pageSize ?? 0)
    let warning: string | undefined
    let shown: readonly OutputColumn[] = columns
    const page = await this.#slices.run(identity.share, function* () {
      const plan = planOf(tree, table.shape, values, Date.now)
      warning = plan.warning
      if (columns.length === 0) shown = plan.columns
      const sameColumns =
        shown.length === plan.columns.length && shown.every(({ type }, i) => type.kind === plan.columns[i]!.type.kind)
      if (!sameColumns) return undefined
      const exists = existing(named, table.shape, visibility, baseOf)
      return yield* run(plan, table, exists, { rows: pageRows, state, bytesMax: limits.schemaAnswerBytesMax })
    })
    if (page === undefined) return undefined
    const isMasked = (permit.obligations?.masks.length ?? 0) > 0
    const reply: RowsReply = {
      keyspace: named.keyspace,
      table: named.name,
      columns: shown,
      rowCount: page.rowCount,
      rows: page.rows,
      pagingState: page.state === undefined ? undefined : secrets.seal.seal(page.state, context),
      skipMetadata: params.skipMetadata && !isMasked,
      newMetadataId: opcode === Opcode.EXECUTE ? this.#newMetadataId(question, version) : undefined,
      warning,
    }
    let envelope = replyEnvelope(version, stream, reply)
    if (isMasked) {
      const [passage, made] = [{ version, opcode, judged, permit, identity }, envelope]
      envelope = await this.#slices.run(identity.share, () => maskedInSlices(passage, secrets, made))
    }
    if (permit.observed !== undefined) envelope = withObserved(wholeEnvelope(envelope), version, permit.observed)
    return { kind: 'answer', permit, envelope, rowCount: page.rowCount }
  }

  #ready({ identity, context }: Asker, { opcode, judged }: Request, params: ParamsView, values: BoundValues) {
    const { judge } = this.#host
    const { facts } = judged!
    return judge.ready(identity, (pace) =>
      judge.currentWithin(pace, identity, judged!, context.set(opcode, params.consistency, facts, values)),
    )
  }

  #decide({ identity, context }: Asker, question: Request, params: ParamsView, values: BoundValues): Permit | Denial {
    const { judge } = this.#host
    const judged = question.judged!
    const decision = judge.settled(identity, judged)
      ? judged.decision
      : judge.current(identity, judged, context.set(question.opcode, params.consistency, judged.facts, values))
    return decision.kind === 'denial' ? decision : checked(judge, identity, decision, values)
  }

  /** Undefined where the client has it, or it is not known. */
  #newMetadataId(question: Request, version: ProtocolVersion): Buffer | undefined {
    if (version < 5) return undefined
    const id = this.#metadataIds.get(question.judged!)
    const view = new ExecuteView()
    readExecute(view, question, version)
    const given = question.bytes.subarray(view.resultMetadataIdStart, view.resultMetadataIdEnd)
    return id === undefined || id.equals(given) ? undefined : id
  }
}

interface Answered {
  readonly kind: 'answer'
  readonly permit: Permit
  readonly envelope: Buffer
  readonly rowCount: number
}

interface Parts {
  readonly tree: SelectTree
  readonly named: SchemaTable
  readonly table: Table
  readonly baseOf: BaseOf
  readonly columns: readonly OutputColumn[]
  readonly params: ParamsView
  readonly values: BoundValues
}

const unanswerable = 'it is not known of this table which of its rows are about what this identity may see'

function treeOf(text: string): SelectTree {
  if (text.length > inlineTextMax) throw unsupported(`a text of more than ${inlineTextMax} characters`)
  return readSelect(text)
}

/** The text as it means the same in every keyspace. */
function qualified({ keyspace, tableAt }: SelectTree, { text, facts }: Judged): string {
  if (keyspace !== undefined) return text
  return `${text.slice(0, tableAt)}${facts.keyspace ?? ''}.${text.slice(tableAt)}`
}

/** The keyspaces that the question is about, where they are few and stand in it as they are. */
function keysOf({ where }: SelectTree, values: BoundValues): Buffer[] | undefined {
  for (const { columns, token, tuple, operator, value } of where) {
    if (token || tuple || columns[0] !== 'keyspace_name' || (operator !== '=' && operator !== 'IN')) continue
    const given = operator === '=' ? [value] : value.kind === 'list' ? value.parts : []
    const keys = given.map((each) => {
      if (each.kind === 'marker') return values.bytes(each.index)
      return each.kind === 'constant' ? Buffer.from(each.text) : null
    })
    const known = [...new Set(keys.map((key) => key?.toString('latin1')))]
    if (keys.length === 0 || known.length > keysMax || keys.includes(null)) continue
    // The partition key cannot be empty.
    const bytes = known.map((key) => Buffer.from(key ?? '', 'latin1')).filter((key) => key.length > 0)
    if (bytes.length > 0) return bytes
  }
  return undefined
}
