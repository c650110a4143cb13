/** Shotover (github.com/shotover/shotover-proxy, since 0.7): one hop, no TLS on either side, a chain of nothing but its sink. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RingfenceError } from '../../src/base/errors.ts'
import { freePort, start, untilListening } from '../processes.ts'
import { type StartSystem, startStub } from './system.ts'

/** As the table shows it; a ratio is to this row. */
export const shotoverHop = 'Shotover, one bare hop'

/** @param binary of a release, or one's own of the crate `shotover` with its feature `cassandra` */
export const shotover =
  (binary: string): StartSystem =>
  async (context) => {
    if (!existsSync(binary)) throw new RingfenceError('USAGE', `no Shotover at ${binary}`)
    const stub = await startStub(context, 'shotover', undefined)
    const port = await freePort()
    const directory = join(context.directory, 'shotover')
    mkdirSync(directory)
    const topology = join(directory, 'topology.yaml')
    const config = join(directory, 'config.yaml')
    const sink = { CassandraSinkSingle: { remote_address: `127.0.0.1:${stub}`, connect_timeout_ms: 3000 } }
    const source = { Cassandra: { name: 'bench', listen_addr: `127.0.0.1:${port}`, chain: [sink] } }
    // JSON is YAML.
    writeFileSync(topology, JSON.stringify({ sources: [source] }, null, 2))
    writeFileSync(config, JSON.stringify({ main_log_level: 'warn' }))
    const args = ['--topology-file', topology, '--config-file', config, '--core-threads', String(context.workers)]
    const child = start(join(directory, 'out.log'), binary, args)
    await untilListening(child, port, 'Shotover')
    return { name: shotoverHop, port, tlsPort: undefined, credentials: context.credentials, pids: [child.pid!] }
  }
