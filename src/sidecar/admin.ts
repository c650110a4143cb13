/** The admin port of a sidecar. */
import { certsOf, configDumpOf, ProxyMetrics, type ShownProxy } from '../agent/admin.ts'
import { Counted } from '../audit/counted.ts'
import { drainPage, rolePages } from '../mesh/admin/pages.ts'
import { type AdminPage, json } from '../mesh/admin/server.ts'
import { boundedSessions } from '../mesh/admin/sessions.ts'
import { gauge } from '../telemetry/metrics/family.ts'
import { ProcessMetrics } from '../telemetry/metrics/process.ts'
import { RequestSeries } from '../telemetry/metrics/requests.ts'
import type { Traces } from '../telemetry/traces/traces.ts'
import { familiesOf, sessionsOf, unreadyReasons } from './shown.ts'
import type { ShownSidecar } from './sidecar-report.ts'

export interface SidecarAdminOptions {
  readonly proxy: ShownProxy
  readonly sidecar: { readonly shown: ShownSidecar }
  readonly counted: Counted
  readonly traces?: Pick<Traces, 'queue'> | undefined
  readonly profiling: boolean
  /** As by SIGTERM. */
  readonly drain: () => void
}

/** What counts requests for it, from the start on. */
export function countedRequests(): Counted {
  return new Counted(new RequestSeries())
}

export function sidecarPages(options: SidecarAdminOptions): AdminPage[] {
  const { proxy, sidecar, counted, traces, profiling, drain } = options
  const own = new ProxyMetrics(proxy)
  const ownProcess = new ProcessMetrics()
  return [
    ...rolePages({
      unready: () => unreadyReasons(sidecar.shown),
      families: () => [
        ...own.families(),
        gauge('ringfence_policy_revision', 'Of the policy in force.', sidecar.shown.policy.policyRevision, 'min'),
        ...familiesOf(sidecar.shown),
        ...counted.families(),
        ...(traces?.queue.families() ?? []),
        ...ownProcess.families(),
      ],
      configDump: () => configDumpOf(proxy),
      certs: () => certsOf(proxy.agent.credentials.current),
      profiling,
    }),
    {
      method: 'GET',
      path: '/sessions',
      help: 'who has a session',
      answer: () => json(boundedSessions(sessionsOf(sidecar.shown))),
    },
    drainPage('takes nobody new, finishes what is in flight, ends', drain),
  ]
}
