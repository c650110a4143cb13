/** The pages that every role has: alive, ready, metrics, what is in force, and profiles behind a switch; and those of a role that starts or may end. */
import type { Family } from '../../telemetry/metrics/family.ts'
import { contentTypes, formFor, metricsText } from '../../telemetry/metrics/text.ts'
import { cpuProfile, heapSnapshot } from './profiles.ts'
import { type AdminPage, json, plain } from './server.ts'

export interface RolePages {
  /** Why it should be sent nobody now; nothing where it is ready. */
  readonly unready: () => readonly string[] | Promise<readonly string[]>
  readonly families: () => readonly Family[] | Promise<readonly Family[]>
  /** What is in force and from where; never a key. */
  readonly configDump: () => unknown
  /** The certificates that it shows, and the roots that it trusts. */
  readonly certs: () => unknown
  readonly profiling: boolean
}

export function rolePages({ unready, families, configDump, certs, profiling }: RolePages): AdminPage[] {
  const ready = async () => {
    const reasons = await unready()
    return reasons.length === 0 ? plain('ok') : plain(reasons.map((reason) => `not ready: ${reason}`).join('\n'), 503)
  }
  return [
    livePage,
    { ...readyPage, answer: ready },
    {
      method: 'GET',
      path: '/metrics',
      help: 'for Prometheus; OpenMetrics to whoever asks for it',
      answer: async ({ accept }) => {
        const form = formFor(accept)
        return { status: 200, type: contentTypes[form], body: metricsText(await families(), form) }
      },
    },
    { method: 'GET', path: '/config_dump', help: 'what is in force, and from where', answer: () => json(configDump()) },
    { method: 'GET', path: '/certs', help: 'certificates and roots', answer: () => json(certs()) },
    ...(profiling ? profilePages : []),
  ]
}

const livePage: AdminPage = {
  method: 'GET',
  path: '/livez',
  help: 'the process answers',
  answer: () => plain('ok'),
}
const readyPage = { method: 'GET', path: '/readyz', help: 'it may be sent clients; else why not' } as const

/** Until there is more to show: it lives, and is not ready. */
export function startingPages(reason: string): AdminPage[] {
  return [livePage, { ...readyPage, answer: () => plain(`not ready: ${reason}`, 503) }]
}

/** By the socket only: a port of loopback can be called by every account, and by every program that fetches what somebody else names. */
export function drainPage(help: string, drain: () => void): AdminPage {
  return {
    method: 'POST',
    path: '/drain',
    help: `by the Unix socket only: ${help}`,
    answer: ({ bySocket }) => {
      if (!bySocket) return plain('this ends the process: listen at unix:/… for this page, or send SIGTERM', 403)
      drain()
      return plain('draining', 202)
    },
  }
}

const secondsMax = 60

const profilePages: readonly AdminPage[] = [
  {
    method: 'POST',
    path: '/cpuprofile',
    help: `?seconds=10 (at most ${secondsMax}); for the developer tools of a browser: by the Unix socket only`,
    answer: async ({ query, bySocket }) => {
      if (!bySocket) return plain('this slows every client down: listen at unix:/… for this page', 403)
      const seconds = Number(query.get('seconds') ?? 10)
      if (!(seconds > 0 && seconds <= secondsMax)) return plain(`seconds: above 0, at most ${secondsMax}`, 400)
      const body = await cpuProfile(seconds * 1000)
      if (body === undefined) return plain('a profile is being made already', 409)
      return { status: 200, type: 'application/json', body }
    },
  },
  {
    method: 'POST',
    path: '/heapsnapshot',
    help: 'all of memory, KEYS TOO: by the Unix socket only; clients wait meanwhile',
    answer: ({ bySocket }) =>
      bySocket
        ? { status: 200, type: 'application/json', body: heapSnapshot() }
        : plain('memory holds keys: listen at unix:/… for this page', 403),
  },
]
