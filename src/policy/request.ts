/**
 * What a decision may look at beside the statement: the request it came in, and the schema of the cluster. Both are handed in; this
 * folder asks nobody.
 */

import { proofs } from '../identity/proofs/index.ts'

/** One request as conditions (`when:`) and guardrails see it. Constant for a session unless said otherwise. */
export interface RequestContext {
  /** The client's own address, IPv4 or IPv6, as NGINX saw it; '' for a Unix socket. */
  readonly clientAddress: string
  /** How the caller proved who it is: one of `proofs.methods`, or several with `+` between them. */
  readonly authentication: string
  /** Native protocol: 3, 4 or 5. */
  readonly protocol: number
  /**
   * The statement is only prepared: what an EXECUTE will say (consistency, a bound LIMIT or TTL) is not known yet. Conditions on it are
   * taken as favourable, since each EXECUTE is judged again with what it says.
   */
  readonly preparing: boolean
  /** Of this request: `LOCAL_QUORUM`, …; '' where it has none (PREPARE). */
  readonly consistency: string
  /** LIMIT of this request, written or bound; undefined where there is none. */
  readonly rows: number | undefined
  /** TTL in seconds of this request, written or bound; undefined where there is none. */
  readonly ttlSeconds: number | undefined
  /** Wall clock, milliseconds since 1970. */
  readonly nowMs: number
}

/** A table, view or virtual table as the cluster has it now. */
export interface TableInfo {
  /** In key order. */
  readonly partitionKey: readonly string[]
  readonly clusteringKey: readonly string[]
  /** Every column, key columns too. */
  readonly columns: readonly string[]
  /** The table that a materialized view shows; it is in the view's keyspace. */
  readonly base: string | undefined
  /** 0 for none. */
  readonly defaultTtlSeconds: number
  /** Kind and CQL type by column; undefined where a policy is tried with tables that do not say. */
  readonly definitions?: ReadonlyMap<string, { readonly kind: string; readonly type: string }>
}

export interface SchemaView {
  /** Undefined for what does not exist (or is not known yet). */
  table(keyspace: string, table: string): TableInfo | undefined
  /** The table that an index belongs to. */
  indexedTable(keyspace: string, index: string): string | undefined
  /** Whether there is a user function or aggregate of that name; undefined where the schema does not say. */
  hasFunction?(keyspace: string, name: string): boolean
}

/** The values and options of one request, read where they lie. */
export interface RequestValues {
  /** The integer (int or bigint bytes) bound to a marker; null for null, unset, absent or of another size. */
  integer(marker: number): bigint | null
  /** The marker is bound to protocol 4's "not set" (length −2), for which Cassandra takes the default. */
  unset(marker: number): boolean
  /** The marker is bound to null, or to nothing. */
  isNull(marker: number): boolean
  /** Elements of the list bound to a marker; null for null, unset, absent or malformed. */
  listSize(marker: number): number | null
  /** The UTF-8 text bound to a marker; null for null, unset, absent or malformed. */
  text(marker: number): string | null
  /** Rows of a page; undefined where the client did not say, which means all of them in one. */
  readonly pageSize: number | undefined
  /** The protocol's default timestamp in microseconds; undefined where there is none. */
  readonly defaultTimestampMicros: bigint | undefined
  /** v5's now_in_seconds; undefined where there is none. */
  readonly nowInSeconds: number | undefined
  /** Of a BATCH message: different partitions among its statements, at most; a statement whose partition is not known counts as one. Else 1. */
  readonly partitions: number
  readonly nowMs: number
}

/** A request of which nothing is known, for questions that no request asks. Favourable, as one that is only prepared. */
export const neutralRequest: RequestContext = {
  clientAddress: '',
  authentication: proofs.usual,
  protocol: 5,
  preparing: true,
  consistency: '',
  rows: undefined,
  ttlSeconds: undefined,
  nowMs: 0,
}

/** A cluster without tables. */
export const emptySchema: SchemaView = {
  table: () => undefined,
  indexedTable: () => undefined,
}
