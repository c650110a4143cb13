/** Two HAProxy, TCP only: the first opens mTLS to the second, the second mTLS to the stub. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, start, untilListening } from '../processes.ts'
import { type BenchContext, type StartSystem, startStub } from './system.ts'

export const haproxy: StartSystem = async (context) => {
  const stub = await startStub(context, 'haproxy', context.credentials)
  const second = await startHop(context, 'haproxy-second', stub)
  const { port, tlsPort, pid } = await startHop(context, 'haproxy-first', second.tlsPort)
  return { name: 'HAProxy pair', port, tlsPort, credentials: context.credentials, pids: [pid, second.pid] }
}

async function startHop(context: BenchContext, name: string, upstream: number) {
  const port = await freePort()
  const tlsPort = await freePort()
  const { cert, key, ca } = context.credentials
  // HAProxy takes a certificate and its key from one file.
  const both = join(context.directory, `${name}.pem`)
  writeFileSync(both, `${readFileSync(cert, 'utf8')}\n${readFileSync(key, 'utf8')}`, { mode: 0o600 })
  const serverTls = ` ssl crt ${both} ca-file ${ca} verify required ssl-min-ver TLSv1.3 no-tls-tickets`
  const config = join(context.directory, `${name}.cfg`)
  writeFileSync(
    config,
    `global
  nbthread ${context.workers}
  maxconn 8192
defaults
  mode tcp
  timeout connect 5s
  timeout client 10m
  timeout server 10m
listen pipe
  bind 127.0.0.1:${port}
  bind 127.0.0.1:${tlsPort}${serverTls}
  server next 127.0.0.1:${upstream} ssl crt ${both} ca-file ${ca} verify required ssl-min-ver TLSv1.3
`,
  )
  // -db: in the foreground, one process.
  const child = start(join(context.directory, `${name}.log`), 'haproxy', ['-db', '-q', '-f', config])
  await untilListening(child, tlsPort, name)
  return { port, tlsPort, pid: child.pid! }
}
