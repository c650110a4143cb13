/**
 * Which statements would show a client behind NGINX where the nodes are. To a question about the topology the gateway sends the answer along;
 * both are judged and recorded here like any. A question that comes without its answer is refused: while a USE is under way, the gateway can't
 * know what a name means. Answers to other statements are given without addresses.
 */
import { RingfenceError } from '../base/errors.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'

const tables: ReadonlySet<string> = new Set(['local', 'peers', 'peers_v2'])

/** `facts` must be resolved. A statement that reads no column but the key shows nothing. */
export function namesTopology(facts: StatementFacts): boolean {
  return facts.accesses.some(
    ({ resource, columns }) =>
      resource.kind === 'table' &&
      resource.keyspace === 'system' &&
      tables.has(resource.table) &&
      (columns === '*' || columns.some((column) => column !== 'key')),
  )
}

/** Whether a statement reads what other hosts there are. `facts` must be resolved. */
export function readsPeers({ accesses }: StatementFacts): boolean {
  return accesses.some(
    ({ permission, resource }) =>
      (permission === 'SELECT' || permission === 'SCAN') &&
      resource.kind === 'table' &&
      resource.keyspace === 'system' &&
      (resource.table === 'peers' || resource.table === 'peers_v2'),
  )
}

/** Whether a statement reads these tables and nothing else, so that a gateway may say what the answer is. `facts` must be resolved. */
export function asksOnlyTopology({ verb, accesses, children }: StatementFacts): boolean {
  return (
    verb === 'SELECT' &&
    children.length === 0 &&
    accesses.length > 0 &&
    accesses.every(
      ({ permission, resource }) =>
        (permission === 'SELECT' || permission === 'SCAN') &&
        resource.kind === 'table' &&
        resource.keyspace === 'system' &&
        tables.has(resource.table),
    )
  )
}

/** Keyspaces whose tables the node fills, with addresses of its own and of others: traces, clients, peers, streams, repairs, settings. */
const telling: ReadonlySet<string> = new Set(['system', 'system_traces', 'system_views', 'system_distributed'])

/** Whether an answer may have addresses of nodes in its values. `facts` must be resolved. */
export function showsAddresses({ accesses }: StatementFacts): boolean {
  return accesses.some(
    ({ permission, resource }) =>
      permission === 'SELECT' && resource.kind === 'table' && telling.has(resource.keyspace ?? ''),
  )
}

/** What may be called where an answer may have addresses: these give what is put in, whole, or a number or time that says nothing of it. */
const plainCalls: ReadonlySet<string> = new Set(
  `count min max avg sum writetime maxwritetime ttl to_json tojson cast now uuid min_timeuuid mintimeuuid max_timeuuid maxtimeuuid to_timestamp
  totimestamp to_date todate to_unix_timestamp tounixtimestamp select distinct json where and in by`.split(/\s+/),
)

/**
 * Whether a statement whose answer may have addresses writes them in other ways: as bytes, hashed, in parts. Those are not found again in
 * an answer. `facts` must be resolved.
 */
export function rewritesAddresses({ verb, accesses, redacted }: StatementFacts): boolean {
  const readsColumns = accesses.some(({ permission, columns }) => permission === 'SELECT' && columns.length > 0)
  if (verb !== 'SELECT' || !readsColumns) return false
  if (redacted.endsWith('…') || accesses.some(({ permission }) => permission === 'EXECUTE')) return true
  for (const [, name = ''] of redacted.matchAll(/(\w+)"?\s*\(/g)) if (!plainCalls.has(name.toLowerCase())) return true
  return false
}

export function rewritingRefusal(): RingfenceError {
  return new RingfenceError('INVALID', 'functions of columns of this table are not answered through a gateway')
}

/** For what the gateway had no answer to, and gave no reason. */
export function topologyRefusal(): RingfenceError {
  return new RingfenceError(
    'INVALID',
    'a gateway answers what is asked of the topology, and has no answer to this: ' +
      'name the table with its keyspace and columns that it has, in a SELECT of at most 4096 characters',
  )
}
