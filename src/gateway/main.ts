/**
 * `ringfence gateway`: one agent, and below it a worker process for each core, each with its own links and listeners.
 */
import { resolve } from 'node:path'
import { type Agent, startAgent } from '../agent/agent.ts'
import type { SvidFrom } from '../agent/svid-source.ts'
import { superviseWorkers } from '../agent/workers.ts'
import { RingfenceError } from '../base/errors.ts'
import { readLeaf } from '../identity/certificate.ts'
import type { ProvidersInForce } from '../identity/providers/in-force.ts'
import { trustDomainOf } from '../identity/spiffe.ts'
import { adminPorts } from '../mesh/admin/address.ts'
import { type AdminPort, besideAdminPort } from '../mesh/admin/beside.ts'
import { requireFreePorts } from '../session/free-ports.ts'
import { logFaults } from '../telemetry/faults.ts'
import { createLogger, type Logger } from '../telemetry/log.ts'
import type { GatewayConfig } from './config.ts'
import { readGatewayConfig } from './config-file.ts'
import type { HttpDoor } from './http/door.ts'
import type { HttpConfig } from './http/http-config.ts'
import type { AskForTxn } from './http/txn-source.ts'

export interface RunOptions {
  readonly configFile: string
  readonly stateDir: string
  /** Needed the first time only. */
  readonly joinToken: string | undefined
  /** In the place of enrolment. */
  readonly svidFrom?: SvidFrom | undefined
  /** Of the program. */
  readonly version?: string
}

/** Resolves when the gateway has stopped. Throws `CONFIG`, `IDENTITY` or `UNAVAILABLE` when it cannot start. */
export async function runGateway(options: RunOptions): Promise<void> {
  const config = readGatewayConfig(options.configFile)
  const log = createLogger(`gateway ${config.name}`)
  logFaults(log)
  const asked = config.http === undefined ? [] : [config.http]
  await requireFreePorts([...config.listeners, ...asked, ...adminPorts(config.admin?.listen)])
  await besideAdminPort(config.admin?.listen, log, (adminPort) => serve(options, config, adminPort, log))
}

async function serve(
  options: RunOptions,
  config: GatewayConfig,
  adminPort: AdminPort | undefined,
  log: Logger,
): Promise<void> {
  const feed = await startAgent({
    role: 'gateway',
    name: config.name,
    stateDir: options.stateDir,
    controlUrl: config.control.url,
    log,
    ...(options.joinToken === undefined ? {} : { joinToken: options.joinToken }),
    svidFrom: options.svidFrom,
  })
  adminPort?.starting('starting its workers')
  refuseUnnamed(config, feed.credentials.current.leafDer)
  const providers = config.http && (await import('../mesh/providers.ts')).followedProviders((kind) => feed.value(kind))
  let http: HttpDoor | undefined
  const workers = superviseWorkers({
    count: config.workers,
    feed,
    script: new URL('./worker.ts', import.meta.url),
    args: [resolve(options.configFile), options.version ?? '0'],
    log,
    keysWanted: () => providers?.takeWanted() ?? [],
    refused: () => http?.takeRefused() ?? {},
  })
  await workers.ready
  http = config.http && providers && (await openHttp(config.http, providers, feed, log))
  const { promise: stopped, resolve: done } = Promise.withResolvers<void>()
  process.once('SIGTERM', done)
  process.once('SIGINT', done)
  const { admin, workers: count } = config
  if (admin !== undefined) {
    const proxy = { agent: feed, version: options.version ?? '0', configFile: resolve(options.configFile), config }
    const { gatewayPages } = await import('./admin.ts')
    adminPort?.show(gatewayPages({ proxy, workers, count, profiling: admin.profiling, drain: done }))
  }
  await stopped
  log.info('stopping')
  http?.stop()
  await Promise.all([feed.leave(), workers.stop()])
  // No worker is left: now the other gateways tell their drivers that it is gone.
  await feed.leave()
  await feed.stop()
}

/** In the process of the agent: it is one, asks the control plane, and has browsers' sessions in one place. */
async function openHttp(config: HttpConfig, providers: ProvidersInForce, agent: Agent, log: Logger): Promise<HttpDoor> {
  // What only this needs, such as OpenID Connect, is loaded with it.
  const [{ HttpDoor: Door }, { madeTxnToken, txnTokensPath }, { RevocationsFeed }] = await Promise.all([
    import('./http/door.ts'),
    import('../mesh/transaction-tokens.ts'),
    import('../mesh/revocations.ts'),
  ])
  const ask: AskForTxn = (order) => agent.askControl(txnTokensPath, order, madeTxnToken)
  const trustDomain = trustDomainOf(agent.credentials.current.spiffeId)
  const { current: revocations } = new RevocationsFeed((kind) => agent.value(kind))
  const door = new Door({ config, providers, revocations, trustDomain, ask, log })
  await door.start()
  return door
}

/** Sidecars would refuse every session of such a listener. Throws `CONFIG`. */
function refuseUnnamed({ listeners }: GatewayConfig, leafDer: Buffer): void {
  const { spiffeId, listenerIdentities } = readLeaf(leafDer)
  for (const { identity } of listeners) {
    if (identity === undefined || listenerIdentities.some((id) => id === identity)) continue
    throw new RingfenceError(
      'CONFIG',
      `a listener is to have the identity ${identity}, which the join token of ${spiffeId} did not name`,
      {
        hint: `make a token with --listener-identity ${identity}, and enrol anew in an empty --state-dir`,
      },
    )
  }
}
