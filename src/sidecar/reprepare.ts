/**
 * A node that forgot a prepared statement, or never had it: the statement is prepared there again and the request sent once more, without
 * the client noticing. Only for ids that this identity prepared itself, and a bounded number of times.
 */
import { prepareEnvelope } from '../cql/encode.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { headerOpcode, Opcode } from '../cql/protocol.ts'
import { readError, readPrepared } from '../cql/responses.ts'
import type { Turn } from '../session/turn.ts'
import { columnsDigest } from './envelopes.ts'
import type { IdentityState, Judged } from './judged.ts'
import type { UpstreamPool } from './pool.ts'
import type { Owner, Upstream } from './upstream.ts'

/** A BATCH with more prepared parts that the node forgot is the driver's to prepare again. */
const BATCH_REPLAYS_MAX = 64

export interface RepreparerOptions {
  readonly pool: UpstreamPool
  readonly turn: Turn
  readonly identity: IdentityState
  readonly version: ProtocolVersion
  readonly poolOwner: string
  readonly owner: Owner
  /** The node's statement is not what the client was told: the driver has to prepare it itself. The slot is released after the call. */
  readonly onOther: (upstream: Upstream, slot: number, id: Buffer) => void
}

export class Repreparer {
  readonly #options: RepreparerOptions

  constructor(options: RepreparerOptions) {
    this.#options = options
  }

  /** Called within `onAnswer` with an UNPREPARED; false where the client has to hear of it. */
  again(upstream: Upstream, slot: number, buffer: Buffer, start: number, end: number): boolean {
    const { identity, version } = this.#options
    const { preparedId } = readError(buffer, start, end)
    if (upstream.requestSlab[slot] === undefined || preparedId === undefined) return false
    const prepared = identity.prepared.find(preparedId, 0, preparedId.length)
    const replaysMax = upstream.opcode[slot] === Opcode.BATCH ? BATCH_REPLAYS_MAX : 1
    if (prepared === undefined || upstream.replays[slot]! >= replaysMax) return false
    upstream.replays[slot] = upstream.replays[slot]! + 1
    upstream.keep(slot)
    const id = Buffer.from(preparedId)
    this.#prepareOnNode(prepared.judged, id, prepared.told.get(version)).then(
      (same) => this.#replay(upstream, slot, id, same),
      () => this.#replay(upstream, slot, id, false),
    )
    return true
  }

  /**
   * False too when its columns are others than this identity was `told`: before v5 the client reads rows by the columns of its
   * own PREPARE, so after an ALTER it has to hear UNPREPARED as from the node.
   */
  async #prepareOnNode(judged: Judged, id: Buffer, told: string | undefined): Promise<boolean> {
    const { pool, version, poolOwner } = this.#options
    const upstream = await pool.get(version, judged.keyspace, poolOwner)
    const answer = await upstream.ask(prepareEnvelope(version, 0, judged.text))
    if (headerOpcode(answer, 0) !== Opcode.RESULT) return false
    if (!readPrepared(answer, 0, answer.length, version).id.equals(id)) return false
    return columnsDigest(answer, 0, answer.length) === told
  }

  #replay(upstream: Upstream, slot: number, id: Buffer, same: boolean): void {
    const { owner, turn, onOther } = this.#options
    const waits = upstream.ownerOf(slot) === owner
    const request = upstream.requestSlab[slot]
    if (waits && same && request !== undefined) {
      const at = upstream.requestAt[slot]!
      upstream.send(slot, request, at, at + upstream.requestBytes[slot]!, turn.nowMicros(), true)
      return
    }
    if (upstream.ownerOf(slot) === undefined) return
    if (waits) onOther(upstream, slot, id)
    upstream.release(slot)
  }
}
