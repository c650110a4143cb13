/** What a worker of a gateway tells its supervisor for the admin port: metrics, why it is not ready, and who is connected. */
import type { BytesBudget } from '../base/bytes-budget.ts'
import { limits } from '../base/limits.ts'
import { boundedSessions, type ShownSession, shownSession } from '../mesh/admin/sessions.ts'
import type { ClientConnection } from '../session/connection.ts'
import { counter, type Family, gauge } from '../telemetry/metrics/family.ts'
import { ProcessMetrics } from '../telemetry/metrics/process.ts'
import type { Traces } from '../telemetry/traces/traces.ts'
import type { MeshLinks } from './links.ts'

export interface ShownGateway {
  readonly connections: ReadonlySet<ClientConnection>
  readonly sessionsOpen: number
  readonly places: number
  readonly links: MeshLinks
  readonly budget: BytesBudget
  readonly policyRevision: number
  readonly refused: number
  readonly stopping: boolean
  readonly traces: Pick<Traces, 'families'> | undefined
}

export type GatewayQuestion = 'metrics' | 'unready' | 'sessions'

/** Answers what the supervisor asks; undefined where this is no question. */
export function answerOf(gateway: { readonly shown: ShownGateway }): (what: string) => unknown {
  const ownProcess = new ProcessMetrics()
  return (what) => {
    const shown = gateway.shown
    if (what === 'metrics') return [...familiesOf(shown), ...ownProcess.families()]
    if (what === 'unready') return unreadyReasons(shown)
    return what === 'sessions' ? boundedSessions(sessionsOf(shown)) : undefined
  }
}

function familiesOf({
  connections,
  sessionsOpen,
  places,
  links,
  budget,
  policyRevision,
  refused,
  traces,
}: ShownGateway): Family[] {
  return [
    gauge('ringfence_connections', 'Connections of drivers.', connections.size),
    gauge('ringfence_connections_limit', 'Of those, so many may be.', limits.connectionsMax),
    gauge('ringfence_places_taken', 'Of those, who has proved an identity.', places),
    gauge('ringfence_sessions', 'Sessions, by how they came.', [{ labels: { door: 'driver' }, value: sessionsOpen }]),
    gauge('ringfence_links', 'Mesh links that are open.', [...links.all].length),
    gauge('ringfence_links_usable', 'Of those, to sidecars that take requests.', links.usable.length),
    gauge('ringfence_sidecars', 'Sidecars that the control plane tells of.', links.sidecars.length, 'max'),
    gauge('ringfence_waiting_bytes', 'Bytes of requests and answers that wait here.', budget.heldBytes),
    gauge('ringfence_waiting_bytes_limit', 'So many may wait.', budget.bounds.processBytesMax),
    gauge('ringfence_policy_revision', 'Of the policy whose routes are in force.', policyRevision, 'min'),
    counter('ringfence_gateway_log_ins_refused', 'Log-ins that this gateway refused by itself.', refused),
    ...(traces?.families() ?? []),
  ]
}

function unreadyReasons({ links, policyRevision, stopping }: ShownGateway): string[] {
  return [
    ...(policyRevision === 0 ? ['no policy is in force'] : []),
    ...(links.usable.length === 0 ? ['there is no link to a sidecar that takes requests'] : []),
    ...(stopping ? ['it is draining'] : []),
  ]
}

function* sessionsOf({ connections }: ShownGateway): Generator<ShownSession> {
  // One that has proved nothing yet is nobody's.
  for (const connection of connections)
    if (connection.revocable !== undefined) yield shownSession('driver', connection.info)
}
