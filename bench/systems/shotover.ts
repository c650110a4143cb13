/** Shotover (github.com/shotover/shotover-proxy, since 0.7): one hop, no TLS on either side, a chain of nothing but its sink. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RingfenceError } from '../../src/base/errors.ts'
import { freePort, start, untilListening } from '../processes.ts'
import { type StartSystem, slugOf, startStub } from './system.ts'

/** As the table shows them. A ratio is to each: the first looks at requests and sends them to replicas, the second passes them on unread. */
export const shotoverRouting = 'Shotover, one hop, routing'
export const shotoverPassing = 'Shotover, one hop, passing on'

/** @param binary of a release, or one's own of the crate `shotover` with its feature `cassandra` */
export const shotover =
  (binary: string, name: keyof typeof sinks): StartSystem =>
  async (context) => {
    if (!existsSync(binary)) throw new RingfenceError('USAGE', `no Shotover at ${binary}`)
    const slug = slugOf(name)
    const stub = await startStub(context, slug, undefined)
    const port = await freePort()
    const directory = join(context.directory, slug)
    mkdirSync(directory)
    const topology = join(directory, 'topology.yaml')
    const config = join(directory, 'config.yaml')
    const sink = sinks[name](stub, port)
    const source = {
      Cassandra: {
        name: 'bench',
        listen_addr: `127.0.0.1:${port}`,
        connection_limit: connectionsMax,
        chain: [sink],
      },
    }
    // JSON is YAML.
    writeFileSync(topology, JSON.stringify({ sources: [source] }, null, 2))
    writeFileSync(config, JSON.stringify({ main_log_level: 'warn' }))
    const args = ['--topology-file', topology, '--config-file', config, '--core-threads', String(context.workers)]
    const child = start(join(directory, 'out.log'), binary, args)
    await untilListening(child, port, 'Shotover')
    return { name, port, tlsPort: undefined, credentials: context.credentials, pids: [child.pid!] }
  }

const connectTimeoutMs = 3000
/** More than any load has: beyond its own limit of 512 Shotover lets clients wait. */
const connectionsMax = 2048

function passingSink(stub: number): object {
  return { CassandraSinkSingle: { remote_address: `127.0.0.1:${stub}`, connect_timeout_ms: connectTimeoutMs } }
}

/** Finds the ring, sends each request to a replica by its key, and stands in the tables as the only node: what a gateway does. */
function routingSink(stub: number, port: number): object {
  const hostId = '2dd022d6-2937-4754-89d6-02d2933a8f7a'
  return {
    CassandraSinkCluster: {
      first_contact_points: [`127.0.0.1:${stub}`],
      local_shotover_host_id: hostId,
      shotover_nodes: [{ address: `127.0.0.1:${port}`, data_center: 'dc1', rack: 'rack1', host_id: hostId }],
      connect_timeout_ms: connectTimeoutMs,
    },
  }
}

const sinks = { [shotoverRouting]: routingSink, [shotoverPassing]: passingSink } as const
