/** The admin port of the control plane: what `ringfence status` knows, as metrics, and whether it can do its work. */
import { certificatesIn } from '../mesh/admin/certificates.ts'
import { rolePages } from '../mesh/admin/pages.ts'
import { shownPushed } from '../mesh/admin/pushed.ts'
import type { AdminPage } from '../mesh/admin/server.ts'
import { type Family, gauge, type Sample } from '../telemetry/metrics/family.ts'
import { ProcessMetrics } from '../telemetry/metrics/process.ts'
import type { ProxyStatus } from './proxy-status.ts'
import { pushBoundsSeconds } from './push-latency.ts'
import type { ControlParts } from './services/parts.ts'

export interface ControlAdminOptions {
  readonly stateDir: string
  readonly profiling: boolean
}

/** Proxies enrol by a token, so that nobody else makes series; yet there is an end. */
const proxiesShownMax = 1_000

export function controlPages(parts: ControlParts, { stateDir, profiling }: ControlAdminOptions): AdminPage[] {
  const ownProcess = new ProcessMetrics()
  return rolePages({
    unready: () => unreadyReasons(parts),
    families: () => [...familiesOf(parts), ...ownProcess.families()],
    configDump: () => configDump(parts, stateDir),
    certs: () => ({ roots: certificatesIn(parts.ca.bundlePem), authorities: parts.ca.keys.shown() }),
    profiling,
  })
}

function unreadyReasons({ store, instance, clock, log }: ControlParts): string[] {
  const reasons = instance.ownNotAfterMs <= clock.now() ? ['its own certificate is over'] : []
  try {
    store.agents()
  } catch (reason) {
    log.warn({ err: reason }, 'the store cannot be read')
    reasons.push('the store cannot be read')
  }
  return reasons
}

function familiesOf({ registry, ca, instance, revocations }: ControlParts): Family[] {
  const { name, version, startedMs, ownNotBeforeMs, ownNotAfterMs } = instance
  const proxies = registry.status()
  const shown = proxies.slice(0, proxiesShownMax)
  const { policies } = registry
  const authorities = ca.keys.shown().map(({ kind, id, state, notAfterMs }) => ({
    labels: { kind, state, authority: id.slice(0, 16) },
    value: notAfterMs / 1000,
  }))
  return [
    gauge('ringfence_build_info', 'What runs here.', [{ labels: { version, role: 'control', name }, value: 1 }]),
    gauge('ringfence_control_start_time_seconds', 'When it started, since 1970.', startedMs / 1000),
    gauge('ringfence_policy_revision', 'Of the policy in force.', policies.current.revision),
    gauge(
      'ringfence_policy_conflict',
      '1 where a proxy runs a policy that is not known here.',
      registry.conflict ? 1 : 0,
    ),
    {
      type: 'histogram',
      name: 'ringfence_policy_push_duration_seconds',
      help: 'How long a proxy took to say that it runs a policy that was applied.',
      bounds: pushBoundsSeconds,
      samples: [{ labels: {}, buckets: policies.pushes.buckets, sum: policies.pushes.sumSeconds }],
    },
    gauge('ringfence_proxies', 'Proxies that enrolled, by what they are.', states(proxies)),
    gauge(
      'ringfence_proxy_policy_revision',
      'Of the policy that each proxy says is in force.',
      shown.flatMap((proxy) =>
        proxy.policyRevision === undefined || !proxy.connected ? [] : [of(proxy, proxy.policyRevision)],
      ),
    ),
    gauge(
      'ringfence_proxy_in_sync',
      '1 where a proxy runs the policy, the revocations and the roots of now.',
      shown.map((proxy) => of(proxy, inSync(proxy) ? 1 : 0)),
    ),
    gauge(
      'ringfence_proxy_cert_expiration_timestamp_seconds',
      'When the certificate ends that each proxy reported by.',
      shown.flatMap((proxy) =>
        proxy.certificateNotAfterMs === undefined ? [] : [of(proxy, proxy.certificateNotAfterMs / 1000)],
      ),
    ),
    gauge(
      'ringfence_proxy_clock_skew_seconds',
      'How far the clock of each proxy is ahead.',
      shown.flatMap((proxy) => (proxy.clockSkewMs === undefined ? [] : [of(proxy, proxy.clockSkewMs / 1000)])),
    ),
    gauge(
      'ringfence_identity_cert_expiration_timestamp_seconds',
      'When its certificate ends, since 1970.',
      ownNotAfterMs / 1000,
    ),
    gauge(
      'ringfence_identity_cert_issued_timestamp_seconds',
      'When its certificate begins, since 1970: a minute before it was signed.',
      ownNotBeforeMs / 1000,
    ),
    gauge('ringfence_ca_expiration_timestamp_seconds', 'When each authority ends, since 1970.', authorities),
    gauge('ringfence_revocations', 'Revocations in force.', revocations.current.size),
  ]
}

function states(proxies: readonly ProxyStatus[]): Sample[] {
  const roles = ['gateway', 'sidecar'] as const
  const words = { synced: 0, stale: 0, away: 0 }
  const counts = { gateway: { ...words }, sidecar: { ...words } }
  for (const proxy of proxies) {
    if (proxy.role !== 'gateway' && proxy.role !== 'sidecar') continue
    counts[proxy.role][!proxy.connected ? 'away' : inSync(proxy) ? 'synced' : 'stale']++
  }
  return roles.flatMap((role) =>
    Object.entries(counts[role]).map(([state, value]) => ({ labels: { role, state }, value })),
  )
}

function inSync({ synced, revocationsInForce, bundleInForce }: ProxyStatus): boolean {
  return synced && revocationsInForce !== false && bundleInForce !== false
}

/** Two may have one name. */
function of({ name, role, spiffeId }: ProxyStatus, value: number): Sample {
  return { labels: { proxy: name, role, spiffe_id: spiffeId }, value }
}

function configDump({ publisher, instance, svidTtlMs, ca }: ControlParts, stateDir: string): object {
  const { name, listen, version } = instance
  const pushed = shownPushed((kind) => publisher.value(kind))
  const settings = { name, listen, trustDomain: ca.trustDomain, svidTtlMs, stateDir }
  return { role: 'control', version, settings, pushed }
}
