/** What all sessions of a sidecar share. */
import type { Transactions } from '../audit/transactions.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import type { Revocations } from '../identity/revoked/revocations.ts'
import type { Turn } from '../session/turn.ts'
import type { Logger } from '../telemetry/log.ts'
import type { Tally } from '../telemetry/metrics/tally.ts'
import type { Repeated } from '../telemetry/repeated.ts'
import type { Analyst } from './analyst.ts'
import type { TxnTokens } from './behalf/tokens.ts'
import type { EventHub } from './events.ts'
import type { Judge } from './judged.ts'
import type { RateLimits } from './limits/rate-limits.ts'
import type { UpstreamPool } from './pool.ts'
import type { SchemaAnswers } from './schema-answers.ts'
import type { Secrets } from './secrets.ts'

export const disagreementWords = ['tables', 'prepared id', 'keyspace'] as const
export type Disagreement = (typeof disagreementWords)[number]

export interface Shared {
  readonly turn: Turn
  readonly log: Logger
  readonly judge: Judge
  readonly pool: UpstreamPool
  readonly transactions: Transactions
  readonly events: EventHub
  readonly analyst: Analyst
  readonly secrets: Secrets
  readonly txnTokens: TxnTokens
  readonly revocations: Revocations
  readonly rateLimits: RateLimits
  readonly schema: SchemaNews
  readonly schemaAnswers: SchemaAnswers
  /** The tracing id of a question of the sidecar's own. Rejects where the node is away or traces nothing. */
  readonly trace: () => Promise<Buffer>
  readonly share: 'mesh' | 'identity'
  /** With the node, about what a statement is, what an id means, or where a session is. */
  readonly disagreements: Tally<Disagreement>
  /** Of sessions that find no connection to the node, each for itself. */
  readonly nodeAway: Repeated
}

/** What a session tells and asks about the schema that the sidecar remembers. */
export interface SchemaNews {
  /** A statement of this sidecar's changed the schema of a keyspace. */
  changed(keyspace: string): void
  /** Resolves when the schema was read again from its beginning; rejects when the node is away. */
  fresh(): Promise<void>
  /** See `SchemaWatch`. */
  readonly doubtful: boolean
  doubts(facts: StatementFacts, tables: readonly string[]): boolean
  changing(facts: StatementFacts): () => void
  settled(): Promise<void>
  baseOf(keyspace: string, view: string): string | undefined
}
