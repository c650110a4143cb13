/**
 * One worker process of a gateway. Started by `main.ts` with the configuration file as its argument; fed over IPC.
 */
import { connectWorker } from '../agent/worker-feed.ts'
import { logFaults } from '../telemetry/faults.ts'
import { createLogger } from '../telemetry/log.ts'
import { restOptimiser } from '../telemetry/optimiser.ts'
import { readGatewayConfig } from './config-file.ts'
import { Gateway } from './gateway.ts'

/** For what the collector has not taken when the worker ends. */
const lastSpansMsMax = 2_000

restOptimiser()
const config = readGatewayConfig(process.argv[2] ?? '')
const log = createLogger(`gateway ${config.name} worker ${process.pid}`)
logFaults(log)
const feed = await connectWorker(log)
const traced = { role: 'gateway', name: config.name, version: process.argv[3] ?? '0', log } as const
const traces =
  config.traces && (await (await import('../mesh/traces.ts')).openTraces({ ...traced, config: config.traces }))
const gateway = new Gateway({ config, feed, log, traces })
if (config.admin !== undefined) feed.onAsk((await import('./shown.ts')).answerOf(gateway))
await gateway.start()

// Ctrl-C at a terminal reaches the whole process group; the supervisor says when to end.
process.on('SIGINT', () => {})
process.once('SIGTERM', () => {
  void gateway
    .stop()
    .then(() => Promise.all([feed.stop(), traces?.queue.close(lastSpansMsMax)]))
    .then(() => process.exit(0))
})
