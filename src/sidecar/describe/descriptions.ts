/**
 * DESCRIBE for those who may not see everything. The node is asked for the whole, on a connection whose keyspace is the one in force; the rows
 * of what is hidden go, and the pages are made here.
 *
 * Rule: the answer is that of a node whose schema has only the visible objects, to the last page and error.
 */

import { createHash } from 'node:crypto'
import type { Transactions } from '../../audit/transactions.ts'
import { createWeighedCache } from '../../base/cache.ts'
import { ConcurrencyLimit } from '../../base/concurrency-limit.ts'
import { RingfenceError } from '../../base/errors.ts'
import { isRows } from '../../cql/answers/rows.ts'
import { errorEnvelope, queryEnvelope } from '../../cql/encode.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import type { ProtocolVersion } from '../../cql/protocol.ts'
import { ExecuteView, type ParamsView, QueryView } from '../../cql/requests.ts'
import type { Decision, Denial, Permit, Visibility } from '../../policy/engine.ts'
import { type Pace, unpaced } from '../../policy/pace.ts'
import type { SchemaView } from '../../policy/request.ts'
import type { Client } from '../../session/backend.ts'
import type { Turn } from '../../session/turn.ts'
import { askedFault } from '../asked-fault.ts'
import { BoundValues } from '../bound.ts'
import { Slices } from '../catalog/slices.ts'
import type { SessionContext } from '../context.ts'
import {
  answerHere,
  clientLeft,
  deny,
  lost,
  type OwnAnswer,
  failed as recordFailed,
  refuseUnrecorded,
} from '../ending.ts'
import type { IdentityState, Judge, Judged } from '../judged.ts'
import { nodeError } from '../node-error.ts'
import type { UpstreamPool } from '../pool.ts'
import type { Request } from '../request.ts'
import { paramsOf, withObserved, withObservedInWindows } from '../rewrites.ts'
import type { SealContext } from '../seal.ts'
import type { Secrets } from '../secrets.ts'
import { textDigest } from '../statement.ts'
import { aggregatesQuery, type MadeOf, madeOf } from './aggregates.ts'
import { missing } from './missing.ts'
import { type Description, described, pageOf } from './pages.ts'

export interface DescriptionHost {
  readonly pool: UpstreamPool
  readonly judge: Judge
  readonly secrets: Secrets
  readonly transactions: Transactions
  readonly turn: Turn
  /** The schema as it is known now. */
  readonly schema: () => SchemaView
}

/** Who asks. */
export interface Asker {
  readonly client: Client
  readonly identity: IdentityState
  readonly context: SessionContext
  readonly version: ProtocolVersion
  readonly topologyHidden: boolean
  readonly poolOwner: string
  /** `keyspace`: in force on the session's connection; empty for none. It stays while this is answered. */
  readonly dispatch: { readonly keyspace: string }
  readonly closed: boolean
}

const values = new BoundValues()

/** Whole answers of the node that are asked for, held and cut down at once: in all, and for one identity. */
const askedMax = 4
const askedPerIdentityMax = 2
/** Descriptions that are kept for their later pages, in bytes. */
const keptBytesMax = 16 * 1024 * 1024
/** Answers that are made anew where the policy changed meanwhile. */
const triesMax = 3

/** What the node said. */
interface Asked {
  readonly answer: Buffer
  readonly aggregates: MadeOf
}

const noAggregates: MadeOf = new Map()

interface Kept {
  readonly visibility: Visibility
  readonly description: Description
}

export class Descriptions {
  readonly #host: DescriptionHost
  /** By who asks for what; the longest unused first. */
  readonly #kept = createWeighedCache<Kept>(keptBytesMax, ({ description }) => description.envelope.length)
  readonly #slices = new Slices()
  readonly #limit = new ConcurrencyLimit<object>(askedMax, askedPerIdentityMax)

  constructor(host: DescriptionHost) {
    this.#host = host
  }

  /** Answers a QUERY or EXECUTE of DESCRIBE. Never rejects. */
  async serve(asker: Asker, request: Request): Promise<void> {
    const { version } = asker
    const params = paramsOf({ opcode: request.opcode, version }, request.view(), new QueryView(), new ExecuteView())!
    const serve = (): Promise<void> => this.#serve(asker, request, params)
    await (this.#isKept(asker, request, params) ? serve() : this.#limit.run(asker.identity.share, serve))
  }

  /** A later page can be made of what is kept. */
  #isKept(asker: Asker, request: Request, params: ParamsView): boolean {
    if (params.pagingStateStart < 0) return false
    const kept = this.#kept.get(keyOf(asker, request.judged!.text))
    return kept !== undefined && kept.visibility === this.#host.judge.visibility(asker.identity)
  }

  async #serve(asker: Asker, request: Request, params: ParamsView): Promise<void> {
    const { client, version, topologyHidden } = asker
    const startedMicros = this.#host.turn.nowMicros()
    let answer: Asked | undefined
    let failure: unknown
    let isOver = false
    try {
      answer = await this.#ask(asker, request, params)
      // There may be another policy now.
      await this.#ready(asker, request, params)
    } catch (reason) {
      failure = reason
    }
    const ending = { client, version, transactions: this.#host.transactions, topologyHidden }
    try {
      const answered =
        failure === undefined
          ? await this.#decided(asker, request, params, answer)
          : this.#refused(asker, request, params, failure)
      if (asker.closed) {
        lost(request, this.#host, clientLeft)
        return
      }
      refuseUnrecorded(this.#host)
      isOver = true
      if (answered.kind === 'denial') {
        deny(request, ending, answered)
        return
      }
      request.permit = answered.permit
      request.latencyMicros = Math.trunc(this.#host.turn.nowMicros() - startedMicros)
      answerHere(request, ending, answered.reply)
    } catch (reason) {
      if (asker.closed) {
        if (!isOver) lost(request, this.#host, clientLeft)
        return
      }
      recordFailed(request, this.#host, reason)
      client.fault(reason, request.stream)
    }
  }

  /** The answer, by the policy that is in force when it is made. */
  async #decided(asker: Asker, request: Request, params: ParamsView, asked: Asked | undefined): Promise<Answered> {
    const { judge } = this.#host
    for (let tries = 0; tries < triesMax; tries++) {
      const decision = this.#decide(asker, request, params)
      if (decision.kind === 'denial') return decision
      const reply = await this.#reply(asker, request.judged!, params, asked, decision.observed)
      await this.#ready(asker, request, params)
      const now = this.#decide(asker, request, params)
      if (now.kind === 'denial') return now
      if (judge.inForce(decision)) return { kind: 'answer', permit: decision, reply }
    }
    throw changedMeanwhile()
  }

  /** The node could not be asked, or refused. */
  #refused(asker: Asker, request: Request, params: ParamsView, failure: unknown): Answered {
    const decision = this.#decide(asker, request, params)
    if (decision.kind === 'denial') return decision
    const { version } = asker
    const reply = failed(version, failure)
    if (decision.observed === undefined) return { kind: 'answer', permit: decision, reply }
    const envelope = withObserved(wholeEnvelope(reply.envelope), version, decision.observed)
    return { kind: 'answer', permit: decision, reply: { ...reply, envelope } }
  }

  /** What policy says now. */
  #decide(asker: Asker, request: Request, params: ParamsView): Decision {
    return this.#decideWithin(unpaced, asker, request, params)!
  }

  #decideWithin(pace: Pace, { identity, context }: Asker, { judged, opcode }: Request, params: ParamsView) {
    const { facts } = judged!
    const bound = values.ofRequest(params, facts.markers)
    return this.#host.judge.currentWithin(
      pace,
      identity,
      judged!,
      context.set(opcode, params.consistency, facts, bound),
    )
  }

  #ready(asker: Asker, request: Request, params: ParamsView): Promise<void> | undefined {
    return this.#host.judge.ready(asker.identity, (pace) => this.#decideWithin(pace, asker, request, params))
  }

  /** The node's whole answer; undefined where one is kept that a later page can be made of, and where it may not be asked any more. */
  async #ask(asker: Asker, request: Request, params: ParamsView): Promise<Asked | undefined> {
    const { text, facts } = request.judged!
    const { version, poolOwner, identity } = asker
    const { keyspace } = asker.dispatch
    if (this.#isKept(asker, request, params)) return undefined
    const upstream = await this.#host.pool.get(version, keyspace, poolOwner)
    await this.#ready(asker, request, params)
    const decision = this.#decide(asker, request, params)
    // Refused when it is answered.
    if (decision.kind === 'denial') return undefined
    const answer = await upstream.ask(queryEnvelope(version, 0, text, {}), decision)
    if (!isRows(wholeEnvelope(answer))) throw nodeError(answer)
    const aggregates =
      facts.verb === 'DESCRIBE AGGREGATES'
        ? await this.#madeOf(identity, await upstream.ask(queryEnvelope(version, 0, aggregatesQuery, {})), version)
        : noAggregates
    return { answer, aggregates }
  }

  #madeOf(identity: IdentityState, answer: Buffer, version: ProtocolVersion): Promise<MadeOf> {
    return this.#slices.run(identity.share, () => madeOf(answer, version))
  }

  /** Thousands of rows are made in slices. */
  async #reply(
    asker: Asker,
    judged: Judged,
    params: ParamsView,
    asked: Asked | undefined,
    observed: string | undefined,
  ): Promise<OwnAnswer> {
    try {
      return await this.#slices.run(asker.identity.share, () =>
        this.#replyInSteps(asker, judged, params, asked, observed),
      )
    } catch (reason) {
      const { version } = asker
      const reply = failed(version, reason)
      if (observed === undefined) return reply
      return { ...reply, envelope: withObserved(wholeEnvelope(reply.envelope), version, observed) }
    }
  }

  *#replyInSteps(
    asker: Asker,
    judged: Judged,
    params: ParamsView,
    asked: Asked | undefined,
    observed: string | undefined,
  ): Generator<undefined, OwnAnswer> {
    const { identity, version } = asker
    const { keyspace } = asker.dispatch
    const { judge, schema, secrets } = this.#host
    const visibility = judge.visibility(identity)
    const key = keyOf(asker, judged.text)
    const description =
      asked === undefined
        ? this.#again(key, visibility)
        : yield* described(asked.answer, version, visibility, schema(), asked.aggregates)
    const message = description.rowCount === 0 ? missing(judged.text, keyspace) : undefined
    if (message !== undefined) throw new RingfenceError('INVALID', message)
    this.#keep(key, visibility, description)
    const page = yield* pageOf(description, version, params, secrets.seal, contextOf(asker, judged))
    const envelope =
      observed === undefined ? page.envelope : yield* withObservedInWindows(page.envelope, version, observed)
    return { envelope, rowCount: page.rowCount, code: -1, message: '' }
  }

  #again(key: string, visibility: Visibility): Description {
    const kept = this.#kept.get(key)
    if (kept?.visibility === visibility) return kept.description
    throw changedMeanwhile()
  }

  #keep(key: string, visibility: Visibility, description: Description): void {
    this.#kept.set(key, { visibility, description })
  }
}

type Answered = Denial | { readonly kind: 'answer'; readonly permit: Permit; readonly reply: OwnAnswer }

function changedMeanwhile(): RingfenceError {
  return new RingfenceError('OVERLOADED', 'what may be seen changed while this was answered; ask again')
}

function failed(version: ProtocolVersion, reason: unknown): OwnAnswer {
  const { code, message } = askedFault(reason)
  return { envelope: errorEnvelope(version, 0, code, message), code, message, rowCount: -1 }
}

function keyOf({ identity, dispatch, version }: Asker, text: string): string {
  return JSON.stringify([version, identity.key, dispatch.keyspace, text])
}

/** A state of ours is none of the node's. */
function contextOf({ identity, dispatch }: Asker, judged: Judged): SealContext {
  return {
    identity: identity.key,
    keyspace: dispatch.keyspace,
    textDigest: createHash('sha256').update('described here').update(textDigest(judged)).digest(),
    valuesDigest: Buffer.alloc(0),
  }
}
