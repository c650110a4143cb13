/** Two NGINX, TCP only: the first opens mTLS to the second, the second mTLS to the stub. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, start, untilListening } from '../processes.ts'
import { type BenchContext, type StartSystem, startStub } from './system.ts'

const streamModule = '/usr/lib/nginx/modules/ngx_stream_module.so'

export const nginx: StartSystem = async (context) => {
  const stub = await startStub(context, 'nginx', context.credentials)
  const second = await startHop(context, 'nginx-second', stub)
  const { port, tlsPort, pid } = await startHop(context, 'nginx-first', second.tlsPort)
  return { name: 'NGINX pair', port, tlsPort, credentials: context.credentials, pids: [pid, second.pid] }
}

async function startHop(context: BenchContext, name: string, upstream: number) {
  const port = await freePort()
  const tlsPort = await freePort()
  const directory = join(context.directory, name)
  mkdirSync(directory, { recursive: true })
  const config = join(directory, 'nginx.conf')
  writeFileSync(config, configOf(context, directory, port, tlsPort, upstream))
  const child = start(join(directory, 'out.log'), 'nginx', [
    '-p',
    directory,
    '-c',
    config,
    '-e',
    join(directory, 'error.log'),
  ])
  await untilListening(child, tlsPort, name)
  return { port, tlsPort, pid: child.pid! }
}

function configOf(context: BenchContext, directory: string, port: number, tlsPort: number, upstream: number): string {
  const { cert, key, ca } = context.credentials
  const serverTls = `
    ssl_certificate ${cert};
    ssl_certificate_key ${key};
    ssl_client_certificate ${ca};
    ssl_verify_client on;
    ssl_protocols TLSv1.3;
    ssl_session_tickets off;`
  return `${existsSync(streamModule) ? `load_module ${streamModule};` : ''}
daemon off;
worker_processes ${context.workers};
pid ${join(directory, 'nginx.pid')};
events { worker_connections 4096; }
stream {
  access_log off;
  tcp_nodelay on;
  server {
    listen 127.0.0.1:${port} backlog=1024;
    listen 127.0.0.1:${tlsPort} ssl backlog=1024;${serverTls}
    proxy_pass 127.0.0.1:${upstream};
    proxy_buffer_size 16k;
    proxy_timeout 10m;
    proxy_ssl on;
    proxy_ssl_certificate ${cert};
    proxy_ssl_certificate_key ${key};
    proxy_ssl_trusted_certificate ${ca};
    proxy_ssl_verify on;
    proxy_ssl_name bench;
    proxy_ssl_protocols TLSv1.3;
  }
}
`
}
