/** What the sample workloads share: an ordinary process with the unmodified `cassandra-driver`, credentials that are renewed, and a loop. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, errors, policies, type QueryOptions, types } from 'cassandra-driver'
import { createLogger, type Logger } from '../../src/telemetry/log.ts'
import { setting, untilTold } from '../told.ts'
import { byCertificate, type Credentials } from './credentials.ts'
import { FailureCount } from './failures.ts'
import { RenewingClient } from './renewing-client.ts'

export interface Work {
  readonly client: Client
  /** Executes and says how it went, without throwing for what the mesh or Cassandra answers. */
  attempt(query: string, params?: readonly unknown[]): Promise<types.ResultSet | undefined>
  random(below: number): number
}

/** What came of a statement. What policy refuses is part of the show; what is lost is counted. */
export type Outcome =
  | { readonly kind: 'answered'; readonly result: types.ResultSet }
  | { readonly kind: 'refused'; readonly why: string }
  | { readonly kind: 'lost'; readonly why: string }

/**
 * Runs until it is told to stop. Settings come from the environment: DEMO_DOOR (address:port), DEMO_STATE_DIR, and those of the credentials.
 * @param pauseMs between two turns of `turn`
 */
export async function runWorkload(
  name: string,
  pauseMs: number,
  turn: (work: Work) => Promise<unknown>,
  credentialsOf: (name: string, log: Logger) => Promise<Credentials> = byCertificate,
): Promise<void> {
  const session = await Session.open(name, credentialsOf)
  const { signal } = session
  const work: Work = {
    get client() {
      return session.client
    },
    random: (below) => Math.floor(Math.random() * below),
    async attempt(query, params = []) {
      const outcome = await session.ask(query, params)
      return outcome.kind === 'answered' ? outcome.result : undefined
    },
  }
  while (!signal.aborted) {
    await turn(work)
    await sleep(pauseMs * (0.5 + Math.random()), undefined, { signal }).catch(() => {})
  }
  await session.close()
}

/** A driver's session that is renewed with its credentials. */
export class Session {
  /** Aborted when the process is told to stop. */
  readonly signal: AbortSignal
  readonly #renewing: RenewingClient<Client>
  readonly #credentials: Credentials
  readonly #failures: FailureCount
  readonly #log: Logger
  #lastFault = ''

  private constructor(name: string, credentials: Credentials, log: Logger) {
    this.#credentials = credentials
    this.#log = log
    this.#renewing = new RenewingClient(() => clientOf(credentials, name))
    this.#failures = new FailureCount(setting('DEMO_STATE_DIR'), name)
    credentials.onRenewal(() => void this.#renewing.renew())
    this.signal = untilTold()
  }

  static async open(
    name: string,
    credentialsOf: (name: string, log: Logger) => Promise<Credentials> = byCertificate,
  ): Promise<Session> {
    const log = createLogger(name)
    return new Session(name, await credentialsOf(name, log), log)
  }

  get client(): Client {
    return this.#renewing.client
  }

  async ask(query: string, params: readonly unknown[], options: QueryOptions = {}): Promise<Outcome> {
    try {
      return { kind: 'answered', result: await this.client.execute(query, [...params], options) }
    } catch (reason) {
      const why = reason instanceof Error ? reason.message : String(reason)
      const kind = isRefusal(reason) ? 'refused' : 'lost'
      if (kind === 'lost') this.#failures.add(why)
      if (why !== this.#lastFault) this.#log.info({ query, fault: why }, 'refused or failed')
      this.#lastFault = why
      return { kind, why }
    }
  }

  async close(): Promise<void> {
    await this.#renewing.close()
    await this.#credentials.close()
  }
}

function isRefusal(reason: unknown): boolean {
  return reason instanceof errors.ResponseError && reason.code === types.responseErrorCodes.unauthorized
}

function clientOf({ tls, authProvider }: Credentials, name: string): Client {
  return new Client({
    contactPoints: [setting('DEMO_DOOR')],
    localDataCenter: 'datacenter1',
    sslOptions: tls,
    ...(authProvider === undefined ? {} : { authProvider }),
    pooling: { coreConnectionsPerHost: { [types.distance.local]: 1 } },
    queryOptions: { prepare: true, isIdempotent: true, consistency: types.consistencies.localQuorum },
    policies: { reconnection: new policies.reconnection.ConstantReconnectionPolicy(250) },
    applicationName: name,
  })
}
