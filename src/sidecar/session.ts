/**
 * The enforced session: the one place where policy is enforced. It is the way of a request:
 *
 *   request ─▶ waits behind others? ─▶ request stages (`request-stages.ts`) ─▶ Dispatch ─▶ node
 *   client ◀─ answer stages (`answer-stages.ts`) ◀─ Answers ◀───────────────────────────────┘
 *
 * Rule: nothing is sent without a `Permit` of the policy and schema in force, and nothing is sent that was not wholly understood.
 */
import type { AuditSession } from '../audit/record.ts'
import type { Transactions } from '../audit/transactions.ts'
import type { SchemaTarget } from '../cql/answers/schema-event.ts'
import { CqlErrorCode, Flag, type ProtocolVersion } from '../cql/protocol.ts'
import { isByName, workloadKeyOf } from '../identity/proofs/workload.ts'
import { type Revocation, revokedRule, revokedText } from '../identity/revoked/revocation.ts'
import type { Backend, Client, LimitAnswers } from '../session/backend.ts'
import { Answers, recordLost } from './answers.ts'
import type { Workload } from './behalf/behalf-session.ts'
import { whileNamed } from './behalf/by-name.ts'
import { OnBehalf } from './behalf/on-behalf.ts'
import { seesTable } from './catalog/visible.ts'
import type { SessionContext } from './context.ts'
import { Dispatch } from './dispatch.ts'
import { deny, failed, refuseUnrecorded } from './ending.ts'
import type { EventListener } from './events.ts'
import type { IdentityState } from './judged.ts'
import { LargeAnswers } from './large-answers.ts'
import { Repreparer } from './reprepare.ts'
import { type Request, takeRequest } from './request.ts'
import { sessionEvent } from './session-event.ts'
import type { Shared } from './shared.ts'
import { refusalMs } from './stages/admit.ts'
import { putOff } from './stages/delays.ts'
import type { Ways } from './stages/in-order.ts'
import { repreparing } from './stages/repreparing.ts'
import { type RequestStage, Step } from './stages/stage.ts'
import { traceArrival } from './traced.ts'
import { Waiting } from './waiting.ts'

export interface SessionOptions {
  readonly client: Client
  readonly version: ProtocolVersion
  /** The keyspace in force from the start; empty for none. Must have been judged by `mayUse`. */
  readonly keyspace: string
  readonly identity: IdentityState
  readonly context: SessionContext
  readonly who: AuditSession
  /** The client came by a gateway, which shows it a topology of its own. */
  readonly topologyHidden: boolean
  readonly oneHost: boolean
  readonly limitAnswers: LimitAnswers
}

export class EnforcedSession implements Backend, Workload, EventListener {
  readonly shared: Shared
  readonly client: Client
  readonly version: ProtocolVersion
  readonly identity: IdentityState
  readonly context: SessionContext
  readonly who: AuditSession
  readonly topologyHidden: boolean
  readonly oneHost: boolean
  readonly limitAnswers: LimitAnswers
  readonly isShared = false
  readonly poolOwner: string
  readonly transactions: Transactions
  readonly dispatch: Dispatch
  readonly waiting: Waiting
  readonly owner: Answers
  readonly repreparer: Repreparer
  readonly largeAnswers: LargeAnswers
  notes: unknown[] | undefined
  questionsWaiting = 0
  readonly #ways: Ways
  /** That of all sessions, until its client is thrown out. */
  #way: RequestStage
  /** Made with the first request that has a custom payload. */
  #onBehalf: OnBehalf | undefined
  #thrownOutBy: Revocation | undefined
  #closed = false

  constructor(shared: Shared, ways: Ways, options: SessionOptions) {
    const { client, version, identity, keyspace } = options
    const { pool, turn, transactions } = shared
    this.shared = shared
    this.client = client
    this.version = version
    this.identity = identity
    this.context = options.context
    this.who = options.who
    this.topologyHidden = options.topologyHidden
    this.oneHost = options.oneHost
    this.limitAnswers = options.limitAnswers
    this.transactions = transactions
    this.poolOwner = shared.share === 'identity' ? workloadKeyOf(client.info.identity) : ''
    this.#ways = isByName(client.info.identity) ? whileNamed(ways, this) : ways
    this.#way = this.#ways.request
    const { account } = client
    this.dispatch = new Dispatch({
      pool,
      turn,
      transactions,
      version,
      keyspace,
      poolOwner: this.poolOwner,
      account,
      changing: (facts) => shared.schema.changing(facts),
      onCrowded: () => client.pause(),
    })
    const held = {
      serve: (request: Request) => this.#serveHeld(request),
      refuse: (request: Request, reason: unknown) => this.#refuse(request, reason),
    }
    this.waiting = new Waiting(client, held, identity.share)
    this.owner = new Answers(this, ways)
    this.largeAnswers = new LargeAnswers(identity.share, account, {
      onChanged: (request, changed) => this.owner.changed(request, changed),
      onFailed: (request, reason) => this.owner.failed(request, reason),
      onFault: () => this.onFault(),
    })
    this.repreparer = new Repreparer({
      ...repreparing(this),
      onPrepared: (prepare) => this.owner.prepared(prepare),
      onLost: (prepare) => recordLost(prepare, this, 'no answer to a repeated PREPARE'),
      onSame: (request, id, carriedIn) => this.serveAgain(request, carriedIn, () => this.owner.unprepared(request, id)),
      onOther: (request, id) => this.owner.unprepared(request, id),
    })
    this.shared.judge.enter(this.identity)
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Connects to the node, so that a client is told READY only when there is one, and when its log-in is on record. */
  async open(): Promise<void> {
    await this.dispatch.open()
    refuseUnrecorded(this)
  }

  request(buffer: Buffer, start: number, end: number): void {
    this.#take(this.#arrived(takeRequest().arrive(this, this.owner, buffer, start, end)))
  }

  /** A request with the answer that its gateway has for it, an envelope; see `given.ts`. */
  requestGiven(answer: Buffer, buffer: Buffer, start: number, end: number): void {
    const request = this.#arrived(takeRequest().arrive(this, this.owner, buffer, start, end))
    request.given = answer
    this.#take(request)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.waiting.drop()
    this.#onBehalf?.close()
    this.shared.judge.leave(this.identity)
    this.shared.events.remove(this)
    const by = this.#thrownOutBy
    const logOut = sessionEvent('log-out', this)
    const thrownOut = { rule: revokedRule, message: by === undefined ? '' : revokedText(by.id) }
    this.transactions.ended(by === undefined ? logOut : { ...logOut, ...thrownOut, code: CqlErrorCode.UNAUTHORIZED })
  }

  /** Part of `Backend`. What waits is refused too, when its turn comes. */
  throwOut(by: Revocation): void {
    this.#thrownOutBy = by
    this.#way = (request) => {
      refuseUnrecorded(this)
      request.judged = undefined
      request.rule = revokedRule
      this.identity.share.charge(refusalMs)
      deny(request, this, this.shared.judge.refusal(this.identity, revokedRule, revokedText(by.id)))
      return Step.DONE
    }
  }

  /** An event of the node that this session registered for. */
  onEvent(envelope: Buffer): void {
    this.client.event(envelope, 0, envelope.length)
  }

  /** Undefined where `sees` may be asked; else when it may. */
  ready(): Promise<void> | undefined {
    return this.shared.judge.ready(this.identity)
  }

  /** Whether the identity may hear that something became of this object. */
  sees({ target, keyspace, name }: SchemaTarget): boolean {
    const visibility = this.shared.judge.visibility(this.identity)
    if (target === 'TABLE') return seesTable(visibility, keyspace, name, this.shared.schema.baseOf(keyspace, name))
    if (target === 'FUNCTION' || target === 'AGGREGATE') return visibility.function(keyspace, name)
    return visibility.keyspace(keyspace)
  }

  /** Part of `Owner` of `base/contained.ts`: a fault in what was to go on for this session ends it, and no other. */
  onFault(): void {
    this.client.close('internal error in the mesh')
  }

  /** A request that was on a connection of the keyspace `carriedIn`, or `changed` where it may mean something else by now. */
  serveAgain(request: Request, carriedIn: string, changed: () => void): void {
    if (this.waiting.active || this.dispatch.keyspace !== carriedIn) changed()
    else this.#serveHeld(request)
  }

  #arrived(request: Request): Request {
    const { traces } = this.transactions
    if (traces !== undefined) traceArrival(traces, request, this.topologyHidden, this.client.info.identity.key)
    return request
  }

  #take(request: Request): void {
    const { share } = this.identity
    request.cameAt(this.shared.turn.nowMicros())
    if (!this.waiting.active) {
      if (share.exhausted) putOff(request, this)
      else this.#serve(request)
      return
    }
    // What it waits behind another counts as its own delay.
    request.heldMicros ||= this.shared.turn.nowMicros()
    try {
      this.waiting.add(request)
    } catch (reason) {
      failed(request, this, reason)
      share.charge(refusalMs)
      throw reason
    }
  }

  #serve(request: Request): void {
    request.restart()
    try {
      // Another's session where it came back to be served again without the payload that it came with.
      const alone = (request.flags & Flag.CUSTOM_PAYLOAD) === 0 && request.session === this
      const step = alone ? this.#way(request, this) : this.#forSomebody(request)
      if (step === Step.DONE) request.over()
    } catch (reason) {
      failed(request, this, reason)
      this.identity.share.charge(refusalMs)
      throw reason
    }
  }

  #forSomebody(request: Request): Step {
    if (this.#thrownOutBy !== undefined) {
      request.session = this
      return this.#way(request, this)
    }
    this.#onBehalf ??= new OnBehalf(this, this.#ways)
    return this.#onBehalf.serve(request)
  }

  #serveHeld(request: Request): void {
    if (this.#closed) return
    // Many may have waited; those behind the one that uses up the share wait on.
    const { share } = this.identity
    const counted = share.begin()
    try {
      this.#take(request)
    } catch (reason) {
      this.client.fault(reason, request.stream)
    } finally {
      if (counted) share.end()
    }
  }

  #refuse(request: Request, reason: unknown): void {
    failed(request, this, reason)
    this.client.fault(reason, request.stream)
  }
}
