/**
 * Which statements would show a client behind NGINX where the nodes are. The gateway answers those itself from its virtual topology; one that
 * slips by it (a USE under way hides what a name means) is refused here.
 */
import { RingfenceError } from '../base/errors.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'

const TABLES: ReadonlySet<string> = new Set(['local', 'peers', 'peers_v2'])

/** `facts` must be resolved. A statement that reads no column but the key shows nothing. */
export function namesTopology(facts: StatementFacts): boolean {
  return facts.accesses.some(
    ({ resource, columns }) =>
      resource.kind === 'table' &&
      resource.keyspace === 'system' &&
      TABLES.has(resource.table) &&
      (columns === '*' || columns.some((column) => column !== 'key')),
  )
}

export function topologyRefusal(): RingfenceError {
  return new RingfenceError('INVALID', 'the topology tables are answered by the gateway: name them with their keyspace')
}
