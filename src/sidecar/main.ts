/**
 * `ringfence sidecar`: configuration, admin port, agent, sidecar, in this order; signals end it.
 */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { startAgent } from '../agent/agent.ts'
import { keepNodeCertificate, type NodeCertificate, nodeStateDir } from '../agent/node-certificate.ts'
import { Counted } from '../audit/counted.ts'
import { Traced } from '../audit/traced.ts'
import { RingfenceError } from '../base/errors.ts'
import { adminPorts } from '../mesh/admin/address.ts'
import { besideAdminServer } from '../mesh/admin/beside.ts'
import { startingPages } from '../mesh/admin/pages.ts'
import type { AdminServer } from '../mesh/admin/server.ts'
import { type CollectAnswer, type CollectRequest, collectAnswer, collectPath } from '../mesh/collection.ts'
import { type LimitShares, limitSharesAnswer, limitSharesPath } from '../mesh/limit-shares.ts'
import { firstUseBy } from '../mesh/presigned-uses.ts'
import { openTraces } from '../mesh/traces.ts'
import { type WitnessAnswer, type WitnessRequest, witnessAnswer, witnessPath } from '../mesh/witness.ts'
import { requireFreePorts } from '../session/free-ports.ts'
import { logFaults } from '../telemetry/faults.ts'
import { createLogger, type Logger } from '../telemetry/log.ts'
import { RequestSeries } from '../telemetry/metrics/requests.ts'
import { collectStartGarbage } from '../telemetry/start-garbage.ts'
import { sidecarPages } from './admin.ts'
import { parseSidecarConfig, type SidecarConfig } from './config.ts'
import { Sidecar } from './sidecar.ts'

/** For what the collector has not taken when the sidecar ends. */
const lastSpansMsMax = 2_000

export interface RunOptions {
  readonly configFile: string
  readonly stateDir: string
  /** Needed the first time only. */
  readonly joinToken: string | undefined
  /** Of the program. */
  readonly version?: string
}

/** Resolves when the sidecar has stopped. Throws `CONFIG`, `IDENTITY` or `UNAVAILABLE` when it cannot start. */
export async function runSidecar(options: RunOptions): Promise<void> {
  const config = parseSidecarConfig(readConfig(options.configFile), options.configFile)
  const log = createLogger(`sidecar ${config.name}`)
  logFaults(log)
  await requireFreePorts([...config.listeners, ...adminPorts(config.admin?.listen)])
  await besideAdminServer(config.admin?.listen, log, (adminServer) => serve(options, config, adminServer, log))
}

async function serve(
  options: RunOptions,
  config: SidecarConfig,
  adminServer: AdminServer | undefined,
  log: Logger,
): Promise<void> {
  const feed = await startAgent({
    role: 'sidecar',
    name: config.name,
    stateDir: options.stateDir,
    controlUrl: config.control.url,
    log,
    ...(options.joinToken === undefined ? {} : { joinToken: options.joinToken }),
  })
  adminServer?.show(startingPages('starting'))
  const auditDirectory = resolve(options.stateDir, config.audit.directory)
  const firstUse = firstUseBy((path, body, schema) => feed.askControl(path, body, schema), log)
  // Before the node is asked for anything: it may be waiting for its files.
  const nodeCertificate = await keptFor(config, options.stateDir, log)
  const limitShares = (asked: LimitShares) => feed.askControl(limitSharesPath, asked, limitSharesAnswer)
  const { admin } = config
  const counted = admin && new Counted(new RequestSeries())
  const askWitness = (request: WitnessRequest): Promise<WitnessAnswer> =>
    feed.askControl(witnessPath, request, witnessAnswer)
  const collect = (request: CollectRequest): Promise<CollectAnswer> =>
    feed.askControl(collectPath, request, collectAnswer)
  const asks = { firstUse, limitShares, askWitness, collect }
  const version = options.version ?? '0'
  const { name } = config
  const traces = config.traces && (await openTraces({ config: config.traces, role: 'sidecar', name, version, log }))
  const consumers = [
    ...(counted === undefined ? [] : [counted]),
    ...(traces === undefined ? [] : [new Traced(traces.queue, config.upstream)]),
  ]
  const sidecar = new Sidecar({ config, feed, log, auditDirectory, consumers, traces, ...asks })
  await sidecar.start()
  const { promise: stopped, resolve: done } = Promise.withResolvers<void>()
  process.once('SIGTERM', done)
  process.once('SIGINT', done)
  if (admin && counted) {
    const proxy = { agent: feed, version, configFile: resolve(options.configFile), config }
    adminServer?.show(sidecarPages({ proxy, sidecar, counted, traces, profiling: admin.profiling, drain: done }))
  }
  collectStartGarbage()
  await stopped
  log.info('stopping')
  await sidecar.stop()
  await Promise.all([feed.stop(), nodeCertificate?.stop(), traces?.queue.close(lastSpansMsMax)])
}

async function keptFor(
  { name, control, upstream, nodeCertificate }: SidecarConfig,
  stateDir: string,
  log: Logger,
): Promise<NodeCertificate | undefined> {
  if (nodeCertificate === undefined) return undefined
  return keepNodeCertificate({
    config: nodeCertificate,
    node: upstream,
    spiffeId: upstream.spiffeId,
    agent: { name: `${name}-cassandra`, stateDir: nodeStateDir(stateDir), controlUrl: control.url, log },
  })
}

function readConfig(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new RingfenceError('CONFIG', `cannot read ${file}`, { cause, hint: 'give the path of a Sidecar document' })
  }
}
