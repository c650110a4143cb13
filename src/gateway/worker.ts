/**
 * One worker process of a gateway. Started by `main.ts` with the configuration file as its argument; fed over IPC.
 */
import { connectWorker } from '../agent/worker-feed.ts'
import { logFaults } from '../telemetry/faults.ts'
import { createLogger } from '../telemetry/log.ts'
import { restOptimiser } from '../telemetry/optimiser.ts'
import { Gateway } from './gateway.ts'
import { readGatewayConfig } from './main.ts'
import { answerOf } from './shown.ts'

restOptimiser()
const config = readGatewayConfig(process.argv[2] ?? '')
const log = createLogger(`gateway ${config.name} worker ${process.pid}`)
logFaults(log)
const feed = await connectWorker(log)
const gateway = new Gateway({ config, feed, log })
if (config.admin !== undefined) feed.onAsk(answerOf(gateway))
await gateway.start()

// Ctrl-C at a terminal reaches the whole process group; the supervisor says when to end.
process.on('SIGINT', () => {})
process.once('SIGTERM', () => {
  void gateway
    .stop()
    .then(() => feed.stop())
    .then(() => process.exit(0))
})
