/**
 * A node that forgot a prepared statement, or never had it: the statement is prepared there again and the request served once more, without
 * the client noticing. Only for ids that this identity prepared itself, and a bounded number of times.
 *
 *   UNPREPARED ─▶ may it still be prepared? ─▶ PREPARE ─▶ same columns? ─▶ the request, served as if it had just come
 *
 * Rule: time passes here, so nothing that was decided before is good afterwards: PREPARE and request are each decided anew.
 */

import { type Owner, settle } from '../base/contained.ts'
import { copyOf, wholeEnvelope } from '../cql/envelope.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { headerOpcode, Opcode } from '../cql/protocol.ts'
import { readError, readPrepared } from '../cql/responses.ts'
import type { Permit } from '../policy/engine.ts'
import { columnsDigest } from './envelopes.ts'
import type { IdentityState, Judged } from './judged.ts'
import type { UpstreamPool } from './pool.ts'
import type { Prepared } from './prepared.ts'
import type { Request, RequestOwner } from './request.ts'
import type { Upstream } from './upstream.ts'

/** A BATCH with more prepared parts that the node forgot is the driver's to prepare again. */
const batchReplaysMax = 64

export interface RepreparerOptions {
  /** Ended by a fault. */
  readonly session: Owner
  readonly pool: UpstreamPool
  readonly identity: IdentityState
  readonly version: ProtocolVersion
  readonly poolOwner: string
  /** Undefined where it can be decided at once; else when it can. */
  readonly ready: (judged: Judged) => Promise<void> | undefined
  /** The permit to prepare a statement now; undefined where there is none. */
  readonly mayPrepare: (judged: Judged) => Permit | undefined
  /** Sends a PREPARE of the statement for `owner`. Throws `OVERLOADED`. */
  readonly send: (upstream: Upstream, permit: Permit, judged: Judged, owner: RequestOwner) => void
  /** A request that was sent, as the client could have sent it. */
  readonly asItCame: (request: Request) => Buffer
  /** An answer to such a PREPARE, for the record; and the loss of one. */
  readonly onPrepared: (prepare: Request) => void
  readonly onLost: (prepare: Request) => void
  /** The request is to be served again from its beginning. It was on a connection of the keyspace `carriedIn`. */
  readonly onSame: (request: Request, id: Buffer, carriedIn: string) => void
  /** The node's statement is not what the client was told: the driver has to prepare it itself. */
  readonly onOther: (request: Request, id: Buffer) => void
}

/** `changed`: the node's statement is no longer what the client was told, or it cannot be prepared. */
type Outcome = 'same' | 'changed' | 'not permitted'

export class Repreparer {
  readonly #options: RepreparerOptions

  constructor(options: RepreparerOptions) {
    this.#options = options
  }

  /** Called within `onAnswer` with an UNPREPARED; false where the client has to hear of it. */
  again(request: Request): boolean {
    const { identity, version } = this.#options
    const { preparedId } = readError(request.answer)
    if (!request.remembered || preparedId === undefined) return false
    const prepared = identity.prepared.find(preparedId, 0, preparedId.length)
    const replaysMax = request.opcode === Opcode.BATCH ? batchReplaysMax : 1
    if (prepared === undefined || request.replays >= replaysMax) return false
    request.replays++
    request.carrier?.keep(request)
    settle(
      this.#options.session,
      'a repeated PREPARE',
      this.#prepareOnNode(prepared, prepared.columnDigests.get(version)),
      (outcome) => this.#goOn(request, prepared.id, outcome),
      () => this.#goOn(request, prepared.id, 'changed'),
    )
    return true
  }

  /**
   * 'changed' too when its columns are others than this identity knows: before v5 the client reads rows by the columns of its
   * own PREPARE, so after an ALTER it has to hear UNPREPARED as from the node.
   */
  async #prepareOnNode({ judged, id }: Prepared, known: string | undefined): Promise<Outcome> {
    const { pool, version, poolOwner, ready, mayPrepare } = this.#options
    const upstream = await pool.get(version, judged.keyspace, poolOwner)
    await ready(judged)
    const permit = mayPrepare(judged)
    if (permit === undefined) return 'not permitted'
    const answer = await this.#prepare(upstream, permit, judged)
    if (answer === undefined || headerOpcode(answer, 0) !== Opcode.RESULT) return 'changed'
    if (!readPrepared(wholeEnvelope(answer), version).id.equals(id)) return 'changed'
    return columnsDigest(wholeEnvelope(answer)) === known ? 'same' : 'changed'
  }

  /** A copy of the node's answer; undefined where none comes. */
  #prepare(upstream: Upstream, permit: Permit, judged: Judged): Promise<Buffer | undefined> {
    const { session, send, onPrepared, onLost } = this.#options
    return new Promise((resolve) => {
      const lost = (prepare: Request): void => {
        onLost(prepare)
        resolve(undefined)
      }
      send(upstream, permit, judged, {
        onAnswer: (prepare) => {
          resolve(copyOf(prepare.answer))
          onPrepared(prepare)
        },
        onUnfit: lost,
        onTimeout: (prepare) => {
          prepare.carrier?.abandon(prepare)
          lost(prepare)
        },
        onLost: lost,
        onFault: (reason) => {
          resolve(undefined)
          session.onFault(reason)
        },
      })
    })
  }

  #goOn(request: Request, id: Buffer, outcome: Outcome): void {
    const { carrier, abandoned } = request
    // The connection was lost meanwhile, and the client told so.
    if (carrier === undefined) return
    const envelope = abandoned || outcome === 'changed' ? undefined : this.#options.asItCame(request)
    carrier.release(request)
    // Its time ran out meanwhile, and the client has an answer.
    if (abandoned) return
    if (envelope === undefined) this.#options.onOther(request, id)
    else {
      request.cameBack(envelope)
      this.#options.onSame(request, id, carrier.keyspace)
    }
  }
}
