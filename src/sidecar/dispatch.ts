/**
 * One session's way to the node: which connection its requests go out on.
 */
import type { Transactions } from '../audit/transactions.ts'
import { type ByteAccount, overloaded, Verdict } from '../base/bytes-budget.ts'
import { RingfenceError } from '../base/errors.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { Opcode } from '../cql/protocol.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import type { Turn } from '../session/turn.ts'
import { spareStreamsPerIdentityMax, type UpstreamPool } from './pool.ts'
import type { Request } from './request.ts'
import type { Upstream } from './upstream.ts'

export interface DispatchOptions {
  readonly pool: UpstreamPool
  readonly turn: Turn
  readonly transactions: Transactions
  readonly version: ProtocolVersion
  readonly keyspace: string
  /** Empty where connections are shared. */
  readonly poolOwner: string
  /** Of the client. */
  readonly account: ByteAccount
  /** A statement that changes the schema is about to be sent; the result is called when it is over. */
  readonly changing: (facts: StatementFacts) => () => void
  /** More waits for this client than may without its being paused. */
  readonly onCrowded: () => void
}

export class Dispatch {
  readonly #options: DispatchOptions
  #keyspace: string
  #upstream: Upstream | undefined

  constructor(options: DispatchOptions) {
    this.#options = options
    this.#keyspace = options.keyspace
  }

  /** The keyspace in force; empty for none. */
  get keyspace(): string {
    return this.#keyspace
  }

  /** Connects to the node, or waits until it takes more of this identity. */
  async open(): Promise<void> {
    const upstream = await this.connectionFor(this.#keyspace)
    await upstream.room(this.#options.account.identity)
    this.#upstream = upstream
  }

  connectionFor(keyspace: string): Promise<Upstream> {
    const { pool, version, poolOwner, account } = this.#options
    return pool.get(version, keyspace, poolOwner, account)
  }

  /** The node's SET_KEYSPACE: the keyspace in force from now on. Requests go to connections that have it. */
  adopt(keyspace: string): void {
    this.#keyspace = keyspace
    this.#upstream = undefined
  }

  /**
   * False when no connection is open, or none that has room or may be given more of this identity now; see `open`.
   * @throws RingfenceError OVERLOADED where as many as may be are open and full
   */
  send(request: Request): boolean {
    let upstream = this.#upstream
    const { account } = this.#options
    const who = account.identity
    const isElsewhere = upstream?.isSpare === true && account.inFlight >= spareStreamsPerIdentityMax
    if (upstream === undefined || isElsewhere || !upstream.usable || upstream.full || upstream.crowdedFor(who)) {
      const { pool, version, poolOwner } = this.#options
      upstream = pool.pick(version, this.#keyspace, poolOwner, account)
      this.#upstream = upstream
      if (upstream === undefined) return false
      if (upstream.full && pool.mayGrow(version, this.#keyspace, poolOwner, account)) return false
    }
    if (!upstream.mayWrite(who, request.byteCount)) return false
    this.sendOn(upstream, request)
    return true
  }

  /** @throws RingfenceError OVERLOADED */
  sendOn(upstream: Upstream, request: Request): void {
    const { account, transactions, turn } = this.#options
    const bytes = request.byteCount
    const verdict = account.take(bytes)
    if (verdict === Verdict.REFUSE) throw overloaded()
    if (verdict === Verdict.PAUSE) this.#options.onCrowded()
    request.bytesIn = bytes
    request.account = account
    // To be served again, and for the values that a page of the answer is sealed to.
    request.remembered = request.opcode !== Opcode.PREPARE
    if (upstream.full) {
      request.account = undefined
      account.give(bytes)
      throw new RingfenceError('OVERLOADED', 'upstreamStreamsMax reached')
    }
    const { judged } = request
    if (judged?.changesSchema === true && request.remembered) request.whenOver = this.#options.changing(judged.facts)
    account.countInFlight(1)
    try {
      transactions.begun(request)
      upstream.send(request, turn.nowMicros())
    } catch (reason) {
      // It was not sent, so nothing gives this back later.
      request.giveBack()
      throw reason
    }
  }
}
