/**
 * The admin port of a gateway: in the process of the agent, which asks every worker and adds up what they say.
 *
 * Rule: a counter never falls while the gateway lives, and nothing is counted twice. A worker that is busy and one that ended both do not answer:
 * only the list of those that live says which it is. What a worker had counted when it answered last stays in the sum either way.
 */
import { certsOf, configDumpOf, ProxyMetrics, type ShownProxy } from '../agent/admin.ts'
import type { Workers } from '../agent/workers.ts'
import { drainPage, rolePages } from '../mesh/admin/pages.ts'
import { type AdminPage, json } from '../mesh/admin/server.ts'
import { joinSessions, type ShownSessions } from '../mesh/admin/sessions.ts'
import { counter, type Family, gauge, sumFamilies } from '../telemetry/metrics/family.ts'
import { ProcessMetrics } from '../telemetry/metrics/process.ts'
import type { GatewayQuestion } from './shown.ts'

export interface GatewayAdminOptions {
  readonly proxy: ShownProxy
  readonly workers: Pick<Workers, 'ask' | 'pids' | 'restarts'>
  readonly count: number
  readonly profiling: boolean
  /** As by SIGTERM. */
  readonly drain: () => void
}

export function gatewayPages({ proxy, workers, count, profiling, drain }: GatewayAdminOptions): AdminPage[] {
  const own = new ProxyMetrics(proxy)
  const ownProcess = new ProcessMetrics()
  const asked = async <T>(what: GatewayQuestion): Promise<readonly (readonly [number, T])[]> => {
    const answers = await workers.ask(what)
    return answers.flatMap(([pid, answer]) => (answer === undefined ? [] : [[pid, answer as T] as const]))
  }
  /** Of each worker that lives, when it answered last; and of those that ended. */
  const last = new Map<number, readonly Family[]>()
  let ended: readonly Family[] = []
  const gathered = async (): Promise<Family[]> => {
    const now = new Map(await asked<readonly Family[]>('metrics'))
    for (const [pid, each] of now) last.set(pid, each)
    const living = new Set(workers.pids)
    for (const [pid, each] of last) {
      if (living.has(pid)) continue
      last.delete(pid)
      ended = sumFamilies([ended, withoutGauges(each)])
    }
    const each = Array.from(last, ([pid, families]) => (now.has(pid) ? families : withoutGauges(families)))
    return [
      ...own.families(),
      gauge('ringfence_workers', 'Worker processes that answer.', now.size),
      gauge('ringfence_workers_wanted', 'As the configuration has them.', count),
      counter('ringfence_worker_restarts', 'Times that a worker ended and another was started.', workers.restarts),
      ...sumFamilies([ownProcess.families(), ended, ...each]),
    ]
  }
  /** Two that ask at once are told the same: else one could take for living what the other has added to those that ended. */
  let underWay: Promise<Family[]> | undefined
  const families = (): Promise<Family[]> => {
    underWay ??= gathered().finally(done)
    return underWay
  }
  const done = (): void => {
    underWay = undefined
  }
  const unready = async (): Promise<string[]> => {
    const answers = await asked<readonly string[]>('unready')
    const missing = count - answers.length
    const reasons = new Set(answers.flatMap(([, reasons]) => reasons))
    return [...(missing > 0 ? [`${missing} of ${count} workers do not answer`] : []), ...reasons]
  }
  return [
    ...rolePages({
      unready,
      families,
      configDump: () => configDumpOf(proxy),
      certs: () => certsOf(proxy.agent.credentials.current),
      profiling,
    }),
    {
      method: 'GET',
      path: '/sessions',
      help: 'who is connected',
      answer: async () => json(joinSessions((await asked<ShownSessions>('sessions')).map(([, part]) => part))),
    },
    drainPage('takes nobody new, sends drivers elsewhere, finishes what is in flight, ends', drain),
  ]
}

/** What was counted is true still. What is, such as connections, is not known of a worker that says nothing. */
function withoutGauges(families: readonly Family[]): Family[] {
  return families.filter(({ type }) => type !== 'gauge')
}
