/** The admin port of a sidecar. */
import { certsOf, configDumpOf, ProxyMetrics, type ShownProxy } from '../agent/admin.ts'
import { Counted } from '../audit/counted.ts'
import { Tapped } from '../audit/tapped.ts'
import { drainPage, rolePages } from '../mesh/admin/pages.ts'
import { type AdminPage, json } from '../mesh/admin/server.ts'
import { boundedSessions } from '../mesh/admin/sessions.ts'
import { gauge } from '../telemetry/metrics/family.ts'
import { ProcessMetrics } from '../telemetry/metrics/process.ts'
import { RequestSeries } from '../telemetry/metrics/requests.ts'
import type { Traces } from '../telemetry/traces/traces.ts'
import { familiesOf, sessionsOf, unreadyReasons } from './shown.ts'
import type { ShownSidecar } from './sidecar-report.ts'
import { tapPage } from './tap-page.ts'

/** The consumers whose pages it has, from the start on. */
export interface Watch {
  readonly counted: Counted
  readonly tapped: Tapped
}

export interface SidecarAdminOptions extends Watch {
  readonly proxy: ShownProxy
  readonly sidecar: { readonly shown: ShownSidecar }
  readonly traces?: Pick<Traces, 'families'> | undefined
  readonly profiling: boolean
  /** As by SIGTERM. */
  readonly drain: () => void
}

export function newWatch(): Watch {
  return { counted: new Counted(new RequestSeries()), tapped: new Tapped() }
}

export function sidecarPages(options: SidecarAdminOptions): AdminPage[] {
  const { proxy, sidecar, counted, tapped, traces, profiling, drain } = options
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
        ...(traces?.families() ?? []),
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
    tapPage({ tapped, name: proxy.agent.name, revision: () => sidecar.shown.policy.policyRevision }),
    drainPage('takes nobody new, finishes what is in flight, ends', drain),
  ]
}
