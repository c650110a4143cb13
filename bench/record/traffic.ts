/** Traffic that was never there, for measurements of the record: who asks what, and lines of it as a sidecar writes them. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { appendTransaction, requestPart, sessionPart, statementPart, verdictPart } from '../../src/audit/record.ts'
import { Consistency } from '../../src/cql/protocol.ts'
import { analyse } from '../../src/cql/statement/analyse.ts'

export interface Asking {
  readonly workload: string
  readonly person: string | undefined
}

/** Sixty identities: services, and people behind tools. */
export const asking: readonly Asking[] = Array.from({ length: 60 }, (_, i) =>
  i < 40
    ? { workload: `spiffe://demo.local/svc/service-${i}`, person: undefined }
    : { workload: 'spiffe://demo.local/tool/console', person: `corp/person-${i}@example.com` },
)

/** A hundred tables in five keyspaces. */
export const tables: readonly { readonly keyspace: string; readonly table: string }[] = Array.from(
  { length: 100 },
  (_, i) => ({
    keyspace: ['shop', 'stock', 'billing', 'support', 'metrics'][i % 5]!,
    table: i === 0 ? 'orders' : `table_${i}`,
  }),
)

/** Six statements about a table. */
export function textsOf(keyspace: string, table: string): string[] {
  const name = `${keyspace}.${table}`
  return [
    `SELECT id, customer, placed_at, total FROM ${name} WHERE id = ?`,
    `SELECT * FROM ${name} WHERE customer = ? AND placed_at > ? LIMIT ?`,
    `INSERT INTO ${name} (id, customer, placed_at, total, state, note) VALUES (?, ?, ?, ?, ?, ?) USING TTL ?`,
    `UPDATE ${name} SET state = ?, note = ? WHERE id = ? IF state = ?`,
    `DELETE FROM ${name} WHERE id = ?`,
    `SELECT id, state FROM ${name} WHERE id IN (?, ?, ?, ?) AND state = ? ALLOW FILTERING`,
  ]
}

/** The same numbers each time. */
function* numbers(seed: number): Generator<number> {
  let state = seed
  for (;;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    yield state / 2 ** 32
  }
}

/**
 * Writes lines into one file of one sidecar, evenly over a time.
 * @returns bytes that were written
 */
export function writeLines(directory: string, proxy: string, count: number, fromMs: number, toMs: number): number {
  const random = numbers(count)
  const one = (max: number): number => Math.floor(random.next().value! * max)
  const statements = tables.flatMap(({ keyspace, table }) =>
    textsOf(keyspace, table).map((text) => {
      const { verb, redacted } = analyse(text)
      return statementPart({ keyspace, table, tables: [`${keyspace}.${table}`], operation: verb, statement: redacted })
    }),
  )
  const sessions = Array.from({ length: 2_000 }, (_, i) =>
    sessionPart({
      session: `g${1 + (i % 4)}-${i}`,
      ...asking[i % asking.length]!,
      authentication: i % asking.length < 40 ? 'certificate' : 'certificate+oidc',
      client: { address: `10.1.${i % 16}.${i % 250}`, port: 32_768 + ((i * 7919) % 28_000) },
      gateway: 'spiffe://demo.local/gateway/gateway-1',
      driver: 'DataStax Python Driver for Apache Cassandra 3.30.1',
      protocolVersion: 5,
    }),
  )
  const start = new Date(fromMs).toISOString().replace(/[-:]/g, '')
  const file = openSync(join(directory, `audit-${proxy}-${start}-000000.jsonl`), 'wx', 0o600)
  let lines: string[] = []
  let bytes = 0
  const flush = (): void => {
    bytes += writeSync(file, lines.join(''))
    lines = []
  }
  for (let i = 0; i < count; i++) {
    const time = new Date(fromMs + Math.floor(((toMs - fromMs) * i) / count)).toISOString()
    const sink = {
      begin: () => `{"time":"${time}","seq":${i + 1},"proxy":"${proxy}"`,
      append: (line: string) => {
        lines.push(line)
      },
    }
    const isDenied = one(200) === 0
    appendTransaction(
      sink,
      {
        session: sessions[one(sessions.length)]!,
        statement: statements[one(statements.length)]! + requestPart('EXECUTE'),
        verdict: verdictPart({
          verdict: isDenied ? 'deny' : 'allow',
          rule: isDenied ? 'default-deny' : 'services',
          policyRevision: 7,
        }),
        batchSize: 0,
        consistency: Consistency.LOCAL_QUORUM,
        error: isDenied ? ',"error":{"code":8448,"message":"not permitted"}' : '',
      },
      {
        outcome: isDenied ? 'error' : 'ok',
        rows: one(20),
        bytesIn: 60 + one(200),
        bytesOut: 40 + one(4_000),
        latencyMicros: 300 + one(5_000),
      },
    )
    if (lines.length === 10_000) flush()
  }
  flush()
  closeSync(file)
  return bytes
}
