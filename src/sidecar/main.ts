/**
 * `ringfence sidecar`: configuration, admin port, agent, sidecar, in this order; signals end it.
 *
 * Rule: what only some sidecars are configured to have is loaded here by `import()` (`test/path/loaded.test.ts` has the list).
 */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Agent, startAgent } from '../agent/agent.ts'
import type { NodeCertificate } from '../agent/node-certificate.ts'
import type { SvidFrom } from '../agent/svid-source.ts'
import type { Consumer } from '../audit/event.ts'
import { RingfenceError } from '../base/errors.ts'
import { adminPorts } from '../mesh/admin/address.ts'
import { type AdminPort, besideAdminPort } from '../mesh/admin/beside.ts'
import { type LimitShares, limitSharesAnswer, limitSharesPath } from '../mesh/limit-shares.ts'
import { firstUseBy } from '../mesh/presigned-uses.ts'
import { requireFreePorts } from '../session/free-ports.ts'
import { logFaults } from '../telemetry/faults.ts'
import { createLogger, type Logger } from '../telemetry/log.ts'
import { collectStartGarbage } from '../telemetry/start-garbage.ts'
import type { Traces } from '../telemetry/traces/traces.ts'
import { parseSidecarConfig, type SidecarConfig } from './config.ts'
import { Sidecar, type SidecarOptions } from './sidecar.ts'

/** For what the collector has not taken when the sidecar ends. */
const lastSpansMsMax = 2_000

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

/** Resolves when the sidecar has stopped. Throws `CONFIG`, `IDENTITY` or `UNAVAILABLE` when it cannot start. */
export async function runSidecar(options: RunOptions): Promise<void> {
  const config = parseSidecarConfig(readConfig(options.configFile), options.configFile)
  const log = createLogger(`sidecar ${config.name}`)
  logFaults(log)
  await requireFreePorts([...config.listeners, ...adminPorts(config.admin?.listen)])
  await besideAdminPort(config.admin?.listen, log, (adminPort) => serve(options, config, adminPort, log))
}

async function serve(
  options: RunOptions,
  config: SidecarConfig,
  adminPort: AdminPort | undefined,
  log: Logger,
): Promise<void> {
  const feed = await startAgent({
    role: 'sidecar',
    name: config.name,
    stateDir: options.stateDir,
    controlUrl: config.control.url,
    log,
    ...(options.joinToken === undefined ? {} : { joinToken: options.joinToken }),
    svidFrom: options.svidFrom,
  })
  adminPort?.starting('starting')
  const auditDirectory = resolve(options.stateDir, config.audit.directory)
  const firstUse = firstUseBy((path, body, schema) => feed.askControl(path, body, schema), log)
  // Before the node is asked for anything: it may be waiting for its files.
  const nodeCertificate = await keptFor(config, options.stateDir, log)
  const limitShares = (asked: LimitShares) => feed.askControl(limitSharesPath, asked, limitSharesAnswer)
  const { admin } = config
  const pages = admin && (await import('./admin.ts'))
  const watch = pages?.newWatch()
  const version = options.version ?? '0'
  const { traces, traced } = await tracesOf(config, version, log)
  const consumers = [watch?.counted, watch?.tapped, traced].filter((consumer) => consumer !== undefined)
  const asks = { firstUse, limitShares, ...(config.audit.format === 'sealed' ? await sealedBy(feed) : {}) }
  const sidecar = new Sidecar({ config, feed, log, auditDirectory, consumers, traces, ...asks })
  await sidecar.start()
  const { promise: stopped, resolve: done } = Promise.withResolvers<void>()
  process.once('SIGTERM', done)
  process.once('SIGINT', done)
  if (admin && pages && watch) {
    const proxy = { agent: feed, version, configFile: resolve(options.configFile), config }
    adminPort?.show(pages.sidecarPages({ proxy, sidecar, ...watch, traces, profiling: admin.profiling, drain: done }))
  }
  collectStartGarbage()
  await stopped
  log.info('stopping')
  await sidecar.stop()
  await Promise.all([feed.stop(), nodeCertificate?.stop(), traces?.queue.close(lastSpansMsMax)])
}

/** What a sealed record asks of the control plane. */
async function sealedBy(feed: Agent): Promise<Pick<SidecarOptions, 'askWitness' | 'collect'>> {
  const [{ witnessAnswer, witnessPath }, { collectAnswer, collectPath }] = await Promise.all([
    import('../mesh/witness.ts'),
    import('../mesh/collection.ts'),
  ])
  return {
    askWitness: (request) => feed.askControl(witnessPath, request, witnessAnswer),
    collect: (request) => feed.askControl(collectPath, request, collectAnswer),
  }
}

async function tracesOf(
  { name, traces: config, upstream }: SidecarConfig,
  version: string,
  log: Logger,
): Promise<{ readonly traces?: Traces; readonly traced?: Consumer }> {
  if (config === undefined) return {}
  const [{ openTraces }, { Traced }] = await Promise.all([import('../mesh/traces.ts'), import('../audit/traced.ts')])
  const traces = await openTraces({ config, role: 'sidecar', name, version, log })
  return { traces, traced: new Traced(traces.queue, upstream) }
}

async function keptFor(
  { name, control, upstream, nodeCertificate }: SidecarConfig,
  stateDir: string,
  log: Logger,
): Promise<NodeCertificate | undefined> {
  if (nodeCertificate === undefined) return undefined
  const { keepNodeCertificate, nodeStateDir } = await import('../agent/node-certificate.ts')
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
