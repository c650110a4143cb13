/**
 * Keeps the ring as the node sees it, for gateways that send requests straight to a replica. Read when a connection is attached, when
 * an event says that the ring changes, when replication changed, and now and then in case an event was lost.
 *
 *   attach, changed, replication ─┐            ┌────────────┐  ┌───────────┐
 *   1 s and 5 s after changed     ├─▶ wanted ─▶│ one queued │─▶│ one runs  │─▶ RingAnswer, digest
 *   every 30 s                   ─┘            └────────────┘  └───────────┘
 *
 * What could not be read leaves the ring as it was: routing by an old ring costs a hop, never an answer.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { after, containOwnFault, every, nothingEnds, unawaited } from '../../base/contained.ts'
import type { Logger } from '../../telemetry/log.ts'
import { digestOfRows, type Row } from '../schema/load.ts'
import { asking, type SchemaPeer, type SchemaWatch } from '../schema/watch.ts'
import { makeRingAnswer, noRing, type RingAnswer, replicationOf } from './answer.ts'
import { readNodes } from './nodes.ts'

/** A node tells of a change before the change is in its tables, so they are read more than once. */
const againMs: readonly number[] = [1000, 5000]
const lostEventMs = 30_000
/** Rows are compared in pieces, with a turn for the sessions between them: this many of 256 tokens take a millisecond. */
const pieceRows = 64

export interface RingWatchOptions {
  readonly log: Logger
  readonly schema: Pick<SchemaWatch, 'view' | 'onChange'>
  /** Called when the ring is another, with its digest. */
  readonly onChange: (digest: string) => void
}

export class RingWatch {
  readonly #options: RingWatchOptions
  #answer = noRing
  /** Equal for equal rows of the node and equal replication: what was read last and is not read twice. */
  #content = ''
  #replication = ''
  #peer: SchemaPeer | undefined
  #running = false
  #queued = false
  #again: readonly NodeJS.Timeout[] = []
  #interval: NodeJS.Timeout | undefined
  #unsubscribe: (() => void) | undefined

  constructor(options: RingWatchOptions) {
    this.#options = options
  }

  /** As it was read last; `noRing` until then. */
  get answer(): RingAnswer {
    return this.#answer
  }

  start(): void {
    this.#interval = every(nothingEnds, 'the ring', lostEventMs, () => this.#want())
    this.#interval.unref()
    this.#unsubscribe = this.#options.schema.onChange(() => {
      if (JSON.stringify(replicationOf(this.#options.schema.view)) !== this.#replication) this.#want()
    })
  }

  stop(): void {
    this.#peer = undefined
    clearInterval(this.#interval)
    for (const timer of this.#again) clearTimeout(timer)
    this.#unsubscribe?.()
  }

  /** `peer` is asked from now on, at once for the first time. */
  attach(peer: SchemaPeer): void {
    this.#peer = peer
    this.#want()
  }

  detach(peer: SchemaPeer): void {
    if (this.#peer === peer) this.#peer = undefined
  }

  /** The node told of a change in the ring. */
  changed(): void {
    this.#want()
    for (const timer of this.#again) clearTimeout(timer)
    this.#again = againMs.map((ms) => after(nothingEnds, 'the ring', ms, () => this.#want()).unref())
  }

  #want(): void {
    this.#queued = true
    if (!this.#running) unawaited(nothingEnds, 'the ring', this.#serve())
  }

  async #serve(): Promise<void> {
    this.#running = true
    while (this.#queued && this.#peer !== undefined) {
      this.#queued = false
      try {
        await this.#read(this.#peer)
      } catch (reason) {
        containOwnFault('a load of the ring', reason)
        this.#options.log.warn({ reason: String(reason) }, 'the ring was not read')
      }
    }
    this.#running = false
  }

  async #read(peer: SchemaPeer): Promise<void> {
    const { schema, onChange } = this.#options
    const rows = await readNodes(asking(peer))
    // Another connection took its place, and is asked next.
    if (this.#peer !== peer) return
    const replication = replicationOf(schema.view)
    this.#replication = JSON.stringify(replication)
    const content = `${await digestOf(rows)} ${this.#replication}`
    if (content === this.#content) return
    this.#content = content
    const answer = await makeRingAnswer(rows, replication)
    if (answer.digest === this.#answer.digest) return
    this.#answer = answer
    onChange(answer.digest)
  }
}

/** Equal for equal rows, in the order they came. */
async function digestOf(rows: readonly Row[]): Promise<string> {
  const digests: string[] = []
  for (let at = 0; at < rows.length; at += pieceRows) {
    await nextTurn()
    digests.push(digestOfRows([rows.slice(at, at + pieceRows)]))
  }
  return digests.join()
}
