/**
 * DESCRIBE for those who may not see everything. The node is asked for the whole, on a connection whose keyspace is the one in force; the rows
 * of what is hidden go, and the pages are made here.
 *
 * Rule: the answer is that of a node whose schema has only the visible objects, to the last page and error.
 */

import { createHash } from 'node:crypto'
import type { Transactions } from '../../audit/transactions.ts'
import { createWeighedCache } from '../../base/cache.ts'
import { RingfenceError } from '../../base/errors.ts'
import { isRows } from '../../cql/answers/rows.ts'
import { errorEnvelope, queryEnvelope } from '../../cql/encode.ts'
import type { ProtocolVersion } from '../../cql/protocol.ts'
import { ExecuteView, type ParamsView, QueryView } from '../../cql/requests.ts'
import type { Decision, Permit, Visibility } from '../../policy/engine.ts'
import type { SchemaView } from '../../policy/request.ts'
import type { Client } from '../../session/backend.ts'
import type { Turn } from '../../session/turn.ts'
import { askedFault } from '../asked-fault.ts'
import { BoundValues } from '../bound.ts'
import type { SessionContext } from '../context.ts'
import { answerHere, deny, type OwnAnswer, failed as recordFailed, refuseUnrecorded } from '../ending.ts'
import { type IdentityState, type Judge, type Judged, textDigest } from '../judged.ts'
import { nodeError } from '../node-error.ts'
import type { UpstreamPool } from '../pool.ts'
import type { Request } from '../request.ts'
import { paramsOf, withObserved } from '../rewrites.ts'
import type { SealContext } from '../seal.ts'
import type { Secrets } from '../secrets.ts'
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
  readonly poolOwner: string
  /** `keyspace`: in force on the session's connection; empty for none. It stays while this is answered. */
  readonly dispatch: { readonly keyspace: string }
  readonly closed: boolean
}

const values = new BoundValues()

/** Whole answers of the node that are made and held at once. */
const askedMax = 4
/** Descriptions that are kept for their later pages, in bytes. */
const keptBytesMax = 16 * 1024 * 1024

/** Answered here, where the permit shows only what is visible. PREPARE goes to the node, which says nothing of the schema to it. */
export function isDescription({ facts }: Judged, permit: Permit): boolean {
  return permit.obligations?.visibleOnly === true && facts.verb.startsWith('DESCRIBE')
}

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
  #asked = 0
  readonly #waiting: (() => void)[] = []

  constructor(host: DescriptionHost) {
    this.#host = host
  }

  /** Answers a QUERY or EXECUTE of DESCRIBE. Never rejects. */
  async serve(asker: Asker, request: Request): Promise<void> {
    const { client, version } = asker
    const judged = request.judged!
    const params = paramsOf({ opcode: request.opcode, version }, request.view(), new QueryView(), new ExecuteView())!
    const startedMicros = this.#host.turn.nowMicros()
    let answer: Asked | undefined
    let failure: unknown
    try {
      answer = await this.#ask(asker, request, params)
    } catch (reason) {
      failure = reason
    }
    if (asker.closed) return
    try {
      const { transactions, turn } = this.#host
      refuseUnrecorded(this.#host)
      const decision = this.#decide(asker, request, params)
      const ending = { client, version, transactions }
      if (decision.kind === 'denial') {
        deny(request, ending, decision)
        return
      }
      const reply = failure === undefined ? this.#reply(asker, judged, params, answer) : failed(version, failure)
      const envelope =
        decision.observed === undefined ? reply.envelope : withObserved(reply.envelope, version, decision.observed)
      request.permit = decision
      request.latencyMicros = turn.nowMicros() - startedMicros
      answerHere(request, ending, { ...reply, envelope })
    } catch (reason) {
      recordFailed(request, this.#host, reason)
      client.fault(reason, request.stream)
    }
  }

  /** What policy says now. */
  #decide({ identity, context }: Asker, { judged, opcode }: Request, params: ParamsView): Decision {
    const { facts } = judged!
    const bound = values.ofRequest(params, facts.markers)
    return this.#host.judge.current(identity, judged!, context.set(opcode, params.consistency, facts, bound))
  }

  /** The node's whole answer; undefined where one is kept that a later page can be made of, and where it may not be asked any more. */
  async #ask(asker: Asker, request: Request, params: ParamsView): Promise<Asked | undefined> {
    const { text, facts } = request.judged!
    const { version, poolOwner, identity } = asker
    const { keyspace } = asker.dispatch
    const kept = params.pagingStateStart >= 0 ? this.#kept.get(keyOf(asker, text)) : undefined
    if (kept !== undefined && kept.visibility === this.#host.judge.visibility(identity)) return undefined
    if (this.#asked >= askedMax) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#asked++
    try {
      const upstream = await this.#host.pool.get(version, keyspace, poolOwner)
      const decision = this.#decide(asker, request, params)
      // Refused when it is answered.
      if (decision.kind === 'denial') return undefined
      const answer = await upstream.ask(queryEnvelope(version, 0, text, {}), decision)
      if (!isRows(answer, 0, answer.length)) throw nodeError(answer)
      const aggregates =
        facts.verb === 'DESCRIBE AGGREGATES'
          ? madeOf(await upstream.ask(queryEnvelope(version, 0, aggregatesQuery, {})), version)
          : noAggregates
      return { answer, aggregates }
    } finally {
      this.#asked--
      this.#waiting.shift()?.()
    }
  }

  #reply(asker: Asker, judged: Judged, params: ParamsView, asked: Asked | undefined): OwnAnswer {
    const { identity, version } = asker
    const { keyspace } = asker.dispatch
    const { judge, schema, secrets } = this.#host
    try {
      const visibility = judge.visibility(identity)
      const key = keyOf(asker, judged.text)
      const description =
        asked === undefined
          ? this.#again(key, visibility)
          : described(asked.answer, version, visibility, schema(), asked.aggregates)
      const message = description.rowCount === 0 ? missing(judged.text, keyspace) : undefined
      if (message !== undefined) throw new RingfenceError('INVALID', message)
      this.#keep(key, visibility, description)
      const page = pageOf(description, version, params, secrets.seal, contextOf(asker, judged))
      return { ...page, code: -1, message: '' }
    } catch (reason) {
      return failed(version, reason)
    }
  }

  #again(key: string, visibility: Visibility): Description {
    const kept = this.#kept.get(key)
    if (kept?.visibility === visibility) return kept.description
    throw new RingfenceError('OVERLOADED', 'what may be seen changed while this was answered; ask again')
  }

  #keep(key: string, visibility: Visibility, description: Description): void {
    this.#kept.set(key, { visibility, description })
  }
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
