/** A statement that was read, with the decision on it. */
import { createHash } from 'node:crypto'
import type { EventStatement } from '../audit/event.ts'
import { RingfenceError } from '../base/errors.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import { meaningOf } from '../cql/statement/meaning.ts'
import { isLarge } from '../policy/deliberation.ts'
import type { Decision, Denial } from '../policy/engine.ts'
import { inlineTextMax } from './analyst.ts'
import type { StatementCharges } from './limits/charges.ts'
import { changesSchema } from './schema/doubts.ts'
import { namesTopology, showsAddresses } from './topology.ts'
import { type SchemaSource, touchedTables } from './touched.ts'

/** One statement as one identity sees it. */
export interface Judged extends EventStatement {
  readonly text: string
  /** What it weighs, since it was remembered somewhere; see `bytesOf`. */
  bytes: number
  /** The keyspace in force when it was read; empty for none. */
  readonly keyspace: string
  /** The cluster's, as it is now. */
  readonly schema: SchemaSource
  /** In another keyspace the same text is another statement. */
  readonly keyspaceCounts: boolean
  /** See `isResolvedLate`. */
  readonly resolvedLate: boolean
  /** See `isLarge`. */
  readonly large: boolean
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
  /** What it takes of the limits of who asks; see `stages/limit.ts`. */
  charges: StatementCharges | undefined
}

/** Before the first epoch. */
const noVerdict = -1
const noDecision: Denial = { kind: 'denial', rule: 'undecided', reason: 'no decision was taken', revision: 0 }

type Read = Pick<Judged, 'text' | 'keyspace' | 'keyspaceCounts'> & { readonly facts: StatementFacts }

/** Before anything was decided on it. */
export function undecided(
  { text, keyspace, keyspaceCounts, facts }: Read,
  schema: SchemaSource,
  tables: readonly string[] = touchedTables(facts, schema.view),
): Judged {
  return {
    text,
    bytes: 0,
    keyspace,
    keyspaceCounts,
    resolvedLate: keyspaceCounts && isResolvedLate(facts),
    facts,
    schema,
    large: isLarge(facts),
    changesSchema: changesSchema(facts),
    namesTopology: namesTopology(facts),
    showsAddresses: showsAddresses(facts),
    decision: noDecision,
    epoch: noVerdict,
    byContext: undefined,
    unknownTable: false,
    lookedUp: noVerdict,
    textDigest: undefined,
    tables,
    tablesEpoch: schema.epoch,
    asked: false,
    charges: undefined,
    notes: undefined,
  }
}

/** The tables that a statement touches, for the record. Again where the schema changed: it may have another view now. */
export function findTables(judged: Judged, schema: SchemaSource): void {
  if (judged.tablesEpoch === schema.epoch) return
  judged.tablesEpoch = schema.epoch
  const tables = touchedTables(judged.facts, schema.view)
  if (tables.length === judged.tables.length && tables.every((table, index) => table === judged.tables[index])) return
  judged.tables = tables
}

/**
 * Cassandra looks for the names of these when it runs them, in the connection's keyspace: neither where they were prepared nor the
 * request's own keyspace (v5) counts (`DescribeStatement`, `PermissionsManagementStatement.validate`). The names of all others have
 * their keyspace from the preparing on, where a request's own keyspace counts.
 */
function isResolvedLate({ verb }: StatementFacts): boolean {
  return /^(?:DESCRIBE|GRANT|REVOKE|LIST)\b/.test(verb)
}

/**
 * A prepared GRANT or REVOKE keeps, at the node and for everyone, the keyspace of whoever ran it first: where it would run is not known here.
 * @throws RingfenceError INVALID
 */
export function refuseResolvedOnce({ verb }: StatementFacts): void {
  if (verb.startsWith('DESCRIBE')) return
  throw new RingfenceError('INVALID', 'a prepared statement about permissions must name the keyspace of its table')
}

/** The length in front keeps a keyspace that a client made up from being read as the beginning of a text. */
export function textKey(text: string, keyspace: string): string {
  return `${keyspace.length}:${keyspace}${text}`
}

/** SHA-256 of what the statement says; of its text as it stands where that is long. */
export function textDigest(judged: Judged): Buffer {
  judged.textDigest ??= createHash('sha256').update(meaning(judged)).digest()
  return judged.textDigest
}

function meaning({ text, facts, schema }: Judged): string {
  if (text.length > inlineTextMax) return text
  const { keyspace } = facts
  return meaningOf(text, (name) => keyspace !== undefined && schema.view.hasFunction?.(keyspace, name) === true)
}
