/** cql-proxy (github.com/datastax/cql-proxy) as it comes: one hop, no TLS on either side, nothing judged. Several clients share its one connection to the node. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { RingfenceError } from '../../src/base/errors.ts'
import { freePort, start, untilListening } from '../processes.ts'
import { type StartSystem, startStub } from './system.ts'

/** @param binary what `go build` makes in its repository */
export const cqlProxy =
  (binary: string): StartSystem =>
  async (context) => {
    if (!existsSync(binary)) throw new RingfenceError('USAGE', `no cql-proxy at ${binary}`)
    const stub = await startStub(context, 'cql-proxy', undefined)
    const port = await freePort()
    const args = ['--contact-points', '127.0.0.1', '--port', String(stub), '--bind', `127.0.0.1:${port}`]
    // Go's scheduler takes what it is given: as many threads that run Go code as other hops have workers.
    const child = start(join(context.directory, 'cql-proxy.log'), binary, args, { GOMAXPROCS: String(context.workers) })
    await untilListening(child, port, 'cql-proxy')
    const name = 'cql-proxy, one bare hop'
    return { name, port, tlsPort: undefined, credentials: context.credentials, pids: [child.pid!] }
  }
