/** What the admin port of a sidecar shows: its parts as they are now, as metrics, as reasons why it is not ready, and who has a session. */
import { limits } from '../base/limits.ts'
import { type ShownSession, shownSession } from '../mesh/admin/sessions.ts'
import { byWord, counter, type Family, gauge } from '../telemetry/metrics/family.ts'
import { type ShownSidecar, sessionsLinked } from './sidecar-report.ts'

export function familiesOf({ connections, links, places, budget, shared, ...rest }: ShownSidecar): Family[] {
  const { pool, disagreements, transactions } = shared
  const { record, shipping, policy, nodeAway } = rest
  const linked = sessionsLinked(links)
  return [
    gauge('ringfence_connections', 'Connections of drivers that came to this process itself.', connections.size),
    gauge('ringfence_connections_limit', 'Of those, so many may be.', limits.connectionsMax),
    gauge('ringfence_places_taken', 'Of those, who has proved an identity.', places),
    gauge('ringfence_links', 'Mesh links that are open.', links.size),
    gauge('ringfence_sessions', 'Sessions, by how they came.', [
      { labels: { door: 'driver' }, value: connections.size },
      { labels: { door: 'link' }, value: linked },
    ]),
    gauge('ringfence_sessions_linked_limit', 'Sessions that may be on links.', limits.linkedSessionsMax),
    gauge('ringfence_node_connections', 'Connections to the node.', pool.connectionsOpen),
    gauge('ringfence_node_pools', 'Groups of them, by protocol version and keyspace.', pool.groupsOpen),
    gauge('ringfence_node_pools_limit', 'So many groups may be.', limits.upstreamPoolsMax),
    gauge('ringfence_node_requests_in_flight', 'Requests that the node has not answered.', pool.inFlight),
    gauge('ringfence_node_up', '1 where the node answers.', nodeAway ? 0 : 1, 'min'),
    gauge('ringfence_waiting_bytes', 'Bytes of requests and answers that wait here.', budget.heldBytes),
    gauge('ringfence_waiting_bytes_limit', 'So many may wait.', budget.bounds.processBytesMax),
    counter(
      'ringfence_node_disagreements',
      'Times that the node and the mesh took something for different things.',
      byWord('about', disagreements),
    ),
    counter('ringfence_record_lines', 'Lines of the record.', record.lines),
    counter('ringfence_record_failures', 'Times that the record began to fail.', record.failures),
    counter('ringfence_record_dropped_lines', 'Lines that were lost for good.', record.dropped),
    gauge('ringfence_record_failed', '1 while the record cannot be written.', transactions.blocked ? 1 : 0, 'max'),
    gauge('ringfence_record_waiting_bytes', 'Bytes of lines that are not written yet.', record.waitingBytes),
    gauge('ringfence_record_waiting_bytes_limit', 'So many are kept.', record.waitingBytesMax),
    gauge(
      'ringfence_record_uncollected_bytes',
      'Bytes of the sealed record that only this sidecar has.',
      shipping === undefined ? [] : shipping.uncollectedBytes,
    ),
    gauge(
      'ringfence_record_collection_failing',
      '1 while nothing of the record is collected.',
      shipping === undefined ? [] : shipping.uncollectedWhy === undefined ? 0 : 1,
      'max',
    ),
    gauge(
      'ringfence_policy_faulty',
      '1 where the policy that came last is not in force.',
      policy.policyFault === undefined ? 0 : 1,
      'max',
    ),
  ]
}

export function unreadyReasons({ shared, policy, nodeAway, stopping }: ShownSidecar): string[] {
  return [
    ...(policy.policyRevision === 0 ? ['no policy is in force'] : []),
    ...(nodeAway ? ['the node is away'] : []),
    ...(shared.transactions.blocked ? ['the record cannot be written'] : []),
    ...(stopping ? ['it is draining'] : []),
  ]
}

export function* sessionsOf({ connections, links }: ShownSidecar): Generator<ShownSession> {
  for (const connection of connections) {
    // One that has proved nothing yet is nobody's.
    if (connection.revocable !== undefined) yield shownSession('driver', connection.info)
  }
  for (const link of links)
    for (const client of link.clients())
      if (client.revocable !== undefined) yield { ...shownSession('link', client.info), gateway: link.gateway }
}
