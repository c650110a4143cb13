/** What the parts of one client session share: who the client is, what all sessions of the gateway use, and what is in force now. */
import type { Client, StartupInfo } from '../session/backend.ts'
import { sessionName } from '../session/session-name.ts'
import type { Traces } from '../telemetry/traces/traces.ts'
import type { HedgeClock } from './hedge-clock.ts'
import type { MeshLinks } from './links.ts'
import type { Router } from './routing/router.ts'
import type { StatementTable } from './routing/statements.ts'
import type { TopologyAnswers } from './topology-answers.ts'
import type { TracedRequests } from './traced-requests.ts'
import type { UpstreamHost } from './upstream-session.ts'
import { UpstreamSessions } from './upstream-sessions.ts'

/** The stream of an event, which answers no request. */
export const eventStream = -1
const noStream = -1

/** What all sessions of a gateway share. */
export interface SessionServices {
  readonly links: MeshLinks
  readonly topology: TopologyAnswers
  readonly router: Router
  readonly hedgeClock: HedgeClock
  readonly nowMicros: () => number
  /** Which requests are traced, where that is configured. */
  readonly traces: Traces | undefined
}

export class SessionState {
  /** The one that traces, where that is configured. */
  readonly client: Client
  readonly startup: StartupInfo
  readonly services: SessionServices
  readonly statements: StatementTable
  readonly upstreams: UpstreamSessions
  readonly traced: TracedRequests | undefined
  /** In force for the client; empty for none. */
  keyspace = ''
  closed = false
  #useStream = noStream

  constructor(
    client: Client,
    startup: StartupInfo,
    services: SessionServices,
    host: UpstreamHost,
    traced: TracedRequests | undefined,
  ) {
    this.client = client
    this.startup = startup
    this.services = services
    this.statements = services.router.statements.open(`${startup.version} ${client.info.identity.key}`)
    const { nowMicros } = services
    this.traced = traced
    this.upstreams = new UpstreamSessions({ client, startup, session: sessionName(), nowMicros, host })
  }

  /** What may be a USE waits for its answer. Texts that come behind it go the same way, so that they find the keyspace which it sets. */
  get usePending(): boolean {
    return this.#useStream !== noStream
  }

  useSent(stream: number): void {
    this.#useStream = stream
  }

  /** Nothing more will be heard of that stream. */
  streamOver(stream: number): void {
    if (stream === this.#useStream) this.#useStream = noStream
  }
}
