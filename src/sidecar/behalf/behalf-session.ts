/**
 * A workload's session while one person stands behind it. The stages of a request see it in the place of the session itself. Its identity is
 * workload and person: verdicts, prepared statements, pages and the record are theirs. The client, the keyspace, the way to the node and what
 * waits are the session's.
 */
import type { AuditSession } from '../../audit/record.ts'
import type { SchemaTarget } from '../../cql/answers/schema-event.ts'
import type { TokenFacts, VerifiedIdentity } from '../../identity/verified.ts'
import { Answers, recordLost } from '../answers.ts'
import type { SessionContext } from '../context.ts'
import type { IdentityState } from '../judged.ts'
import { LargeAnswers } from '../large-answers.ts'
import { Repreparer } from '../reprepare.ts'
import type { Request } from '../request.ts'
import type { Ways } from '../stages/in-order.ts'
import { repreparing } from '../stages/repreparing.ts'
import type { Session } from '../stages/stage.ts'

/** What it needs of its session beside what stages see. */
export interface Workload extends Session {
  readonly context: SessionContext
  readonly who: AuditSession
  /** Serves a request again that is the session's own to serve, now or behind those that wait. */
  serveAgain(request: Request, carriedIn: string, changed: () => void): void
}

export interface Behalf {
  readonly identity: VerifiedIdentity
  /** `txn`, where a token said so. */
  readonly transaction: string | undefined
  readonly tokenHash: string | undefined
  /** The token that it was made for. */
  readonly source: TokenFacts | undefined
  /** Where policy lets the workload say it, in the place of a token. */
  readonly name: string | undefined
  /** The keys that verified the token: see `TxnTokens.generation`. */
  readonly keys: number
}

export class BehalfSession implements Session {
  readonly identity: IdentityState
  readonly context: SessionContext
  readonly who: AuditSession
  readonly owner: Answers
  readonly shared: Workload['shared']
  readonly client: Workload['client']
  readonly version: Workload['version']
  readonly topologyHidden: boolean
  readonly oneHost: boolean
  readonly limitAnswers: Workload['limitAnswers']
  readonly isShared = true
  readonly poolOwner: string
  readonly transactions: Workload['transactions']
  readonly dispatch: Workload['dispatch']
  readonly waiting: Workload['waiting']
  readonly name: string | undefined
  readonly source: TokenFacts | undefined
  readonly untilMs: number
  readonly keys: number
  /** The epoch in which it was last looked at whether the pair still may be. */
  lookedAt: number
  notes: unknown[] | undefined
  readonly #workload: Workload
  #repreparer: Repreparer | undefined
  #largeAnswers: LargeAnswers | undefined

  constructor(workload: Workload, ways: Ways, state: IdentityState, behalf: Behalf) {
    const { identity, transaction, tokenHash, source, name, keys } = behalf
    const {
      shared,
      client,
      version,
      topologyHidden,
      oneHost,
      poolOwner,
      transactions,
      dispatch,
      waiting,
      limitAnswers,
    } = workload
    this.#workload = workload
    this.shared = shared
    this.client = client
    this.version = version
    this.topologyHidden = topologyHidden
    this.oneHost = oneHost
    this.limitAnswers = limitAnswers
    this.poolOwner = poolOwner
    this.transactions = transactions
    this.dispatch = dispatch
    this.waiting = waiting
    this.identity = state
    this.name = name
    this.source = source
    this.untilMs = identity.expiresAtMs
    this.keys = keys
    this.lookedAt = shared.judge.epoch
    this.context = workload.context.of({ ...client.info, identity })
    this.who = {
      ...workload.who,
      person: identity.person,
      personGroup: identity.groups[0],
      authentication: this.context.authentication,
      transaction,
      tokenHash,
    }
    this.owner = new Answers(this, ways)
  }

  get repreparer(): Repreparer {
    this.#repreparer ??= new Repreparer({
      ...repreparing(this),
      onPrepared: (prepare) => this.owner.prepared(prepare),
      onLost: (prepare) => recordLost(prepare, this, 'no answer to a repeated PREPARE'),
      onSame: (request, id, carriedIn) =>
        this.#workload.serveAgain(request, carriedIn, () => this.owner.unprepared(request, id)),
      onOther: (request, id) => this.owner.unprepared(request, id),
    })
    return this.#repreparer
  }

  get largeAnswers(): LargeAnswers {
    this.#largeAnswers ??= new LargeAnswers(this.identity.share, this.client.account, {
      onChanged: (request, changed) => this.owner.changed(request, changed),
      onFailed: (request, reason) => this.owner.failed(request, reason),
      onFault: () => this.onFault(),
    })
    return this.#largeAnswers
  }

  get questionsWaiting(): number {
    return this.#workload.questionsWaiting
  }

  set questionsWaiting(count: number) {
    this.#workload.questionsWaiting = count
  }

  get closed(): boolean {
    return this.#workload.closed
  }

  ready(): Promise<void> | undefined {
    return this.#workload.ready()
  }

  sees(about: SchemaTarget): boolean {
    return this.#workload.sees(about)
  }

  onEvent(envelope: Buffer): void {
    this.#workload.onEvent(envelope)
  }

  onFault(): void {
    this.#workload.onFault(undefined)
  }
}
