/**
 * A line of the record as a row: its columns, and where each stands in the JSON of `docs/audit.md`. Whatever kept the record, it is read as this.
 *
 * Rule: a column is of one field, or of the fields of one meaning that a line never has both of; no field is left out. A test compares.
 */

export interface RowColumn {
  readonly name: string
  /** Of SQL, as DuckDB writes it. */
  readonly type: 'VARCHAR' | 'BIGINT' | 'INTEGER' | 'VARCHAR[]' | 'TIMESTAMPTZ'
  /** Paths in the JSON of a line; the first that is there counts. */
  readonly from: readonly string[]
}

const text = (name: string, ...from: string[]): RowColumn => ({ name, type: 'VARCHAR', from })
const count = (name: string, ...from: string[]): RowColumn => ({ name, type: 'BIGINT', from })
const small = (name: string, ...from: string[]): RowColumn => ({ name, type: 'INTEGER', from })

/** In the order in which they are told. */
export const rowColumns: readonly RowColumn[] = [
  { name: 'time', type: 'TIMESTAMPTZ', from: ['time'] },
  count('seq', 'seq'),
  text('proxy', 'proxy'),
  text('event', 'event'),
  text('session', 'session'),
  text('workload', 'workload'),
  text('person', 'person'),
  text('authentication', 'authentication'),
  text('transaction_id', 'transaction'),
  text('token_hash', 'tokenHash', 'evidence.tokenHash'),
  text('claimed', 'claimed'),
  text('evidence_hash', 'evidence.hash'),
  text('provider', 'evidence.provider', 'provider'),
  text('issuer', 'evidence.issuer', 'issuer'),
  text('token_id', 'evidence.tokenId', 'tokenId'),
  text('client_address', 'client.address'),
  small('client_port', 'client.port'),
  text('gateway', 'gateway'),
  text('driver', 'driver'),
  small('protocol', 'protocol'),
  text('trace_id', 'traceId'),
  text('span_id', 'spanId'),
  text('keyspace', 'keyspace'),
  text('table_name', 'table'),
  { name: 'tables', type: 'VARCHAR[]', from: ['tables'] },
  count('tables_missing', 'tablesMissing'),
  text('operation', 'operation'),
  text('statement', 'statement'),
  count('statement_bytes', 'statementBytes'),
  text('request', 'request'),
  small('batch_size', 'batchSize'),
  text('consistency', 'consistency'),
  text('verdict', 'verdict'),
  text('rule', 'rule'),
  count('policy_revision', 'policyRevision'),
  text('outcome', 'outcome'),
  text('cause', 'cause'),
  count('error_code', 'error.code'),
  text('error_message', 'error.message'),
  count('rows_answered', 'rows'),
  count('bytes_in', 'bytesIn'),
  count('bytes_out', 'bytesOut'),
  count('latency_micros', 'latencyMicros'),
  count('dropped', 'dropped'),
]
