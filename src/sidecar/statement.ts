/** A statement that was read, with the decision on it. */
import type { EventStatement } from '../audit/event.ts'
import type { Decision } from '../policy/engine.ts'

/** One statement as one identity sees it. */
export interface Judged extends EventStatement {
  readonly text: string
  /** What it weighs, since it was remembered somewhere; see `bytesOf`. */
  bytes: number
  /** The keyspace in force when it was read; empty for none. */
  readonly keyspace: string
  /** In another keyspace the same text is another statement. */
  readonly keyspaceCounts: boolean
  /** See `isResolvedLate`. */
  readonly resolvedLate: boolean
  /** See `changesSchema`. */
  readonly changesSchema: boolean
  /** See `namesTopology`. */
  readonly namesTopology: boolean
  /** See `showsAddresses`. */
  readonly showsAddresses: boolean
  /** Of the epoch below; see `Judge.settled`. */
  decision: Decision
  epoch: number
  /** Decisions of the epoch by context key, for an identity whose rules look at the request. */
  byContext: Map<string, Decision> | undefined
  /** It names a table that the schema of the epoch does not have. */
  unknownTable: boolean
  /** The epoch in which the schema was read again for it. */
  lookedUp: number
  /** See `textDigest`; made when a page of its answer is first sealed. */
  textDigest: Buffer | undefined
  /** Every table that it touches, by the schema of the epoch after that. */
  tables: readonly string[]
  tablesEpoch: number
  /** The node was asked to prepare it. */
  asked: boolean
}
