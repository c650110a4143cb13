/**
 * What all sessions of a sidecar share, put together: the node as it is watched, the connections to it, and who judges.
 *
 * Rule: whoever sends to the node asks one judge whether a permit is in force.
 */
import type { Transactions } from '../audit/transactions.ts'
import type { Revocations } from '../identity/revoked/revocations.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { Permit, PolicyEngine } from '../policy/engine.ts'
import type { Turn } from '../session/turn.ts'
import type { Logger } from '../telemetry/log.ts'
import { Tally } from '../telemetry/metrics/tally.ts'
import { Repeated } from '../telemetry/repeated.ts'
import type { Analyst } from './analyst.ts'
import type { TxnTokens } from './behalf/tokens.ts'
import type { SidecarConfig } from './config.ts'
import { EventHub } from './events.ts'
import { Judge } from './judged.ts'
import type { RateLimits } from './limits/rate-limits.ts'
import { NodeMonitor } from './node.ts'
import { UpstreamPool } from './pool.ts'
import { SchemaAnswers } from './schema-answers.ts'
import type { Secrets } from './secrets.ts'
import { disagreementWords, type Shared } from './shared.ts'

export interface EnforcementParts {
  readonly config: SidecarConfig
  readonly credentials: Credentials
  readonly log: Logger
  readonly turn: Turn
  /** The wall clock of the turn. */
  readonly nowMs: () => number
  readonly engine: PolicyEngine
  readonly transactions: Transactions
  readonly secrets: Secrets
  readonly txnTokens: TxnTokens
  readonly revocations: Revocations
  readonly rateLimits: RateLimits
  readonly analyst: Analyst
  readonly onNodeChange: () => void
}

export interface Enforcement {
  readonly node: NodeMonitor
  readonly shared: Shared
}

export function enforcementOf(parts: EnforcementParts): Enforcement {
  const { config, credentials, log, turn, transactions, secrets, txnTokens, analyst } = parts
  const { address, port, spiffeId, connections, share } = config.upstream
  const target = { address, port, spiffeId }
  const inForce = (permit: Permit): boolean => judge.inForce(permit)
  const events = new EventHub()
  const node = new NodeMonitor(
    {
      name: config.name,
      target,
      turn,
      log,
      inForce,
      onEvent: (buffer, start, end) => events.dispatch(buffer, start, end),
      onChange: parts.onNodeChange,
    },
    credentials,
  )
  const { schema } = node
  const judge = new Judge(parts.engine, schema, parts.nowMs)
  const pool = new UpstreamPool({ target, connections, turn, log, inForce }, credentials)
  const schemaAnswers = new SchemaAnswers({
    ask: node.asking,
    judge,
    transactions,
    secrets,
    turn,
    baseOf: (keyspace, view) => schema.baseOf(keyspace, view),
    pool,
    schema: () => schema.view,
  })
  return {
    node,
    shared: {
      turn,
      log,
      nodeAway: new Repeated(),
      judge,
      schemaAnswers,
      pool,
      transactions,
      events,
      analyst,
      secrets,
      txnTokens,
      revocations: parts.revocations,
      rateLimits: parts.rateLimits,
      schema,
      trace: () => node.trace(),
      share,
      disagreements: new Tally(disagreementWords),
    },
  }
}
