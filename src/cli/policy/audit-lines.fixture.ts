/** Lines of the audit as a sidecar writes them, through the sidecar's own functions. */
import type { AuditSink } from '../../audit/record.ts'
import { appendTransaction, requestPart, sessionPart, statementPart, verdictPart } from '../../audit/record.ts'
import { Consistency } from '../../cql/protocol.ts'
import { analyse } from '../../cql/statement/analyse.ts'
import { resolveKeyspace } from '../../cql/statement/resolve.ts'
import { proofs } from '../../identity/proofs/index.ts'

export interface Sent {
  readonly as: string
  /** With its literals, which the record will not have. */
  readonly text?: string
  /** In force. */
  readonly keyspace?: string
  readonly verdict?: 'allow' | 'deny' | 'observe'
  readonly rule: string
  readonly request?: 'QUERY' | 'PREPARE' | 'EXECUTE' | 'BATCH'
  /** False for a record that has none. */
  readonly consistency?: keyof typeof Consistency | false
  readonly operation?: string
  readonly timeMs?: number
  readonly authentication?: string
  readonly person?: string
}

export const sentMs = Date.UTC(2026, 0, 2, 12)

/** One line without its line feed. */
export function auditLine(sent: Sent): string {
  const { as, text, keyspace, verdict = 'allow', rule, request = 'QUERY', consistency = 'LOCAL_QUORUM' } = sent
  let line = ''
  const sink: AuditSink = {
    begin: () => `{"time":"${new Date(sent.timeMs ?? sentMs).toISOString()}","seq":1,"proxy":"sidecar-1"`,
    append: (written) => {
      line = written
    },
  }
  const session = sessionPart({
    session: 's1',
    workload: as,
    person: sent.person,
    authentication: sent.authentication ?? proofs.usual,
    client: { address: '192.0.2.7', port: 40_123 },
    protocolVersion: 5,
  })
  const facts = text === undefined ? undefined : resolveKeyspace(analyse(text), keyspace)
  const statement = statementPart({
    keyspace: facts?.keyspace,
    table: facts?.table,
    tables: facts?.table === undefined ? [] : [`${facts.keyspace}.${facts.table}`],
    operation: sent.operation ?? facts?.verb ?? request,
    statement: facts?.redacted,
  })
  appendTransaction(
    sink,
    {
      session,
      statement: statement + requestPart(request),
      verdict: verdictPart({ verdict, rule, policyRevision: 7 }),
      batchSize: 0,
      consistency: consistency === false ? -1 : Consistency[consistency],
      error: '',
    },
    { outcome: verdict === 'deny' ? 'error' : 'ok', rows: -1, bytesIn: 1, bytesOut: 1, latencyMicros: 1 },
  )
  return line.trimEnd()
}
