/**
 * A node that forgot a prepared statement, or never had it: the statement is prepared there again and the request served once more, without
 * the client noticing. Only for ids that this identity prepared itself, and a bounded number of times.
 *
 *   UNPREPARED ─▶ may it still be prepared? ─▶ PREPARE ─▶ same columns? ─▶ the request, served as if it had just come
 *
 * Rule: time passes here, so nothing that was decided before is good afterwards: PREPARE and request are each decided anew.
 */
import { prepareEnvelope } from '../cql/encode.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { headerOpcode, Opcode } from '../cql/protocol.ts'
import { readError, readPrepared } from '../cql/responses.ts'
import type { Permit } from '../policy/engine.ts'
import { columnsDigest } from './envelopes.ts'
import type { IdentityState, Judged } from './judged.ts'
import type { UpstreamPool } from './pool.ts'
import type { Prepared } from './prepared.ts'
import type { Owner, Request } from './request.ts'
import type { Upstream } from './upstream.ts'

/** A BATCH with more prepared parts that the node forgot is the driver's to prepare again. */
const BATCH_REPLAYS_MAX = 64

export interface RepreparerOptions {
  readonly pool: UpstreamPool
  readonly identity: IdentityState
  readonly version: ProtocolVersion
  readonly poolOwner: string
  /** The permit to prepare a statement now; undefined where there is none. */
  readonly mayPrepare: (judged: Judged) => Permit | undefined
  /** Sends a PREPARE for `owner`. Throws `OVERLOADED`. */
  readonly sendPrepare: (upstream: Upstream, permit: Permit, judged: Judged, envelope: Buffer, owner: Owner) => void
  /** An answer to such a PREPARE, or the loss of one, for the record. */
  readonly onPrepared: (prepare: Request, answer: Buffer | undefined) => void
  /** The request is to be served again from its beginning. It is released after the call. */
  readonly onSame: (request: Request, id: Buffer) => void
  /** The node's statement is not what the client was told: the driver has to prepare it itself. The request is released after the call. */
  readonly onOther: (request: Request, id: Buffer) => void
}

/** `changed`: the node's statement is no longer what the client was told, or it cannot be prepared. */
type Outcome = 'same' | 'changed' | 'not permitted'

export class Repreparer {
  readonly #options: RepreparerOptions
  /** How often a request came back, by the client's stream, until it is answered. */
  readonly #replays = new Map<number, number>()

  constructor(options: RepreparerOptions) {
    this.#options = options
  }

  /** The request on this stream of the client's is answered. */
  answered(clientStream: number): void {
    if (this.#replays.size > 0) this.#replays.delete(clientStream)
  }

  /** Called within `onAnswer` with an UNPREPARED; false where the client has to hear of it. */
  again(request: Request, buffer: Buffer, start: number, end: number): boolean {
    const { identity, version } = this.#options
    const { preparedId } = readError(buffer, start, end)
    if (!request.remembered || preparedId === undefined) return false
    const prepared = identity.prepared.find(preparedId, 0, preparedId.length)
    const replaysMax = request.opcode === Opcode.BATCH ? BATCH_REPLAYS_MAX : 1
    const replays = this.#replays.get(request.stream) ?? 0
    if (prepared === undefined || replays >= replaysMax) return false
    this.#replays.set(request.stream, replays + 1)
    request.carrier?.keep(request)
    this.#prepareOnNode(prepared, prepared.told.get(version)).then(
      (outcome) => this.#goOn(request, prepared.id, outcome),
      () => this.#goOn(request, prepared.id, 'changed'),
    )
    return true
  }

  /**
   * 'changed' too when its columns are others than this identity was `told`: before v5 the client reads rows by the columns of its
   * own PREPARE, so after an ALTER it has to hear UNPREPARED as from the node.
   */
  async #prepareOnNode({ judged, id }: Prepared, told: string | undefined): Promise<Outcome> {
    const { pool, version, poolOwner, mayPrepare } = this.#options
    const upstream = await pool.get(version, judged.keyspace, poolOwner)
    const permit = mayPrepare(judged)
    if (permit === undefined) return 'not permitted'
    const answer = await this.#prepare(upstream, permit, judged)
    if (answer === undefined || headerOpcode(answer, 0) !== Opcode.RESULT) return 'changed'
    if (!readPrepared(answer, 0, answer.length, version).id.equals(id)) return 'changed'
    return columnsDigest(answer, 0, answer.length) === told ? 'same' : 'changed'
  }

  /** A copy of the node's answer; undefined where none comes. */
  #prepare(upstream: Upstream, permit: Permit, judged: Judged): Promise<Buffer | undefined> {
    const { version, sendPrepare, onPrepared } = this.#options
    return new Promise((resolve) => {
      const lost = (prepare: Request): void => {
        onPrepared(prepare, undefined)
        resolve(undefined)
      }
      const owner: Owner = {
        onAnswer: (prepare, buffer, start, end) => {
          const answer = Buffer.from(buffer.subarray(start, end))
          onPrepared(prepare, answer)
          resolve(answer)
        },
        onUnfit: lost,
        onTimeout: (prepare) => {
          prepare.carrier?.abandon(prepare)
          lost(prepare)
        },
        onLost: lost,
      }
      sendPrepare(upstream, permit, judged, prepareEnvelope(version, 0, judged.text), owner)
    })
  }

  #goOn(request: Request, id: Buffer, outcome: Outcome): void {
    const { carrier } = request
    // The connection was lost meanwhile, and the client told so.
    if (carrier === undefined) return
    // Not where its time ran out meanwhile: the client has an answer.
    if (!request.abandoned) {
      if (outcome === 'changed') this.#options.onOther(request, id)
      else this.#options.onSame(request, id)
    }
    carrier.release(request)
  }
}
