/**
 * The prepared statements of one identity as the gateway knows them, so that an EXECUTE can go to a replica that has the statement, or is
 * given it first. The gateway decides nothing by them: the sidecar judges the PREPARE and every EXECUTE again, in the identity's name.
 *
 * Rule: an id means something only to the identity that prepared it, here as at the sidecar (attack B3). What is forgotten here is not
 * lost: such an EXECUTE goes where its session's PREPAREs went.
 */
import { type Shared, SharedCache } from '../../base/cache.ts'
import { limits } from '../../base/limits.ts'
import { type PreparedEntry, PreparedIds } from '../../cql/prepared-ids.ts'
import { type LoopShare, LoopShares } from '../../session/loop-share.ts'
import type { GatewayLink } from '../link.ts'
import type { Placement } from './ring.ts'
import type { KeyMarkers } from './routing-key.ts'

/** A sidecar that would not have a statement (its node had not heard of the table yet, say) is asked again after this. */
const retryMicros = 5_000_000

/** What has a partition key to be looked for. */
export interface Keyed {
  /** Of its table; empty where it has none. */
  readonly keyspace: string
  /** Empty where it has none. */
  readonly table: string
  /** A SELECT: nothing is done by it. */
  readonly reads: boolean
  /** Undefined where its partition cannot be told from what is bound. */
  readonly key: KeyMarkers | undefined
}

export class Statement implements PreparedEntry {
  readonly id: Buffer
  /** The PREPARE as the client sent it, a whole envelope. */
  readonly prepare: Buffer
  /** The keyspace that its unqualified names are in; undefined where it has none. */
  readonly inForce: string | undefined
  readonly keyed: Keyed
  /** Serial numbers of the links whose sidecar has it for this identity, by sidecar. */
  readonly #on: number[] = []
  /** Of those that are being given it right now. */
  readonly #preparing: number[] = []
  /** By sidecar: monotonic microseconds. */
  readonly #notBefore: number[] = []
  /** Of `keyed.keyspace` in `placementRing`. */
  placement: Placement | undefined
  placementRing: object | undefined
  /** By the rules `hedgeRules`; 0 where it is sent once. */
  hedgeAfterMs = 0
  hedgeRules: object | undefined
  lastUse = 0
  next: this | undefined

  constructor(id: Buffer, prepare: Buffer, inForce: string | undefined, keyed: Keyed) {
    this.id = id
    this.prepare = prepare
    this.inForce = inForce
    this.keyed = keyed
  }

  isOn(link: GatewayLink): boolean {
    return this.#on[link.sidecarIndex] === link.serial
  }

  /** Whether a session with this keyspace in force could be given it now; false while somebody is doing that. */
  mayPrepare(link: GatewayLink, keyspace: string, nowMicros: number): boolean {
    const sidecar = link.sidecarIndex
    if (this.#preparing[sidecar] === link.serial || nowMicros < (this.#notBefore[sidecar] ?? 0)) return false
    return this.inForce === undefined || this.inForce === keyspace
  }

  /** It is under way there. */
  preparing(link: GatewayLink): void {
    this.#preparing[link.sidecarIndex] = link.serial
  }

  nowOn(link: GatewayLink): void {
    this.#preparing[link.sidecarIndex] = 0
    this.#on[link.sidecarIndex] = link.serial
  }

  /** The sidecar would not have it, or has another statement under its id. */
  refused(link: GatewayLink, nowMicros: number): void {
    this.#preparing[link.sidecarIndex] = 0
    this.#notBefore[link.sidecarIndex] = nowMicros + retryMicros
  }

  /** The sidecar has it no longer, or nobody gives it any more. */
  forget(link: GatewayLink): void {
    this.#on[link.sidecarIndex] = 0
    this.#preparing[link.sidecarIndex] = 0
  }
}

export interface StatementTable extends Shared {
  ids: PreparedIds<Statement>
  /** Of the PREPAREs in it, and of those that were forgotten one by one since it was empty. */
  bytes: number
  /** Of the event loop, for texts that have to be read. */
  readonly share: LoopShare
}

/** By protocol version and identity: a PREPARE of one version is no request of another. */
export class StatementTables {
  readonly #tables = new SharedCache<StatementTable>(limits.statementTablesMax, (table) => this.#empty(table))
  readonly #shares = new LoopShares()
  #bytes = 0

  /** To be closed when the session is over. */
  open(key: string): StatementTable {
    let table = this.#tables.get(key)
    if (table === undefined) {
      const ids = new PreparedIds<Statement>(limits.preparedPerIdentityMax)
      table = { key, sessions: 0, ids, bytes: 0, share: this.#shares.share() }
      this.#tables.add(table)
    }
    this.#tables.enter(table)
    return table
  }

  close(table: StatementTable): void {
    this.#tables.leave(table)
  }

  add(table: StatementTable, statement: Statement): void {
    table.ids.set(statement)
    table.bytes += statement.prepare.length
    this.#bytes += statement.prepare.length
    while (this.#bytes > limits.statementTablesBytesMax) this.#empty(this.#largest())
  }

  #largest(): StatementTable {
    return [...this.#tables.values()].reduce((most, each) => (each.bytes > most.bytes ? each : most))
  }

  #empty(table: StatementTable): void {
    this.#bytes -= table.bytes
    table.bytes = 0
    table.ids = new PreparedIds(limits.preparedPerIdentityMax)
  }
}
