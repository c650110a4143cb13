/** Two NGINX, TCP only: the first opens mTLS to the second, the second mTLS to the stub. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, start, untilListening } from '../processes.ts'
import { type BenchContext, type StartSystem, startStub } from './system.ts'

const streamModule = '/usr/lib/nginx/modules/ngx_stream_module.so'

export const nginx: StartSystem = async (context) => {
  const stub = await startStub(context, 'nginx', context.credentials)
  const second = await startHop(context, 'nginx-second', true, stub)
  const first = await startHop(context, 'nginx-first', context.clientTls, second.port)
  return { name: 'NGINX pair', port: first.port, credentials: context.credentials, pids: [first.pid, second.pid] }
}

async function startHop(context: BenchContext, name: string, takesTls: boolean, upstream: number) {
  const port = await freePort()
  const directory = join(context.directory, name)
  mkdirSync(directory, { recursive: true })
  const config = join(directory, 'nginx.conf')
  writeFileSync(config, configOf(context, directory, port, takesTls, upstream))
  const child = start(join(directory, 'out.log'), 'nginx', [
    '-p',
    directory,
    '-c',
    config,
    '-e',
    join(directory, 'error.log'),
  ])
  await untilListening(child, port, name)
  return { port, pid: child.pid! }
}

function configOf(context: BenchContext, directory: string, port: number, takesTls: boolean, upstream: number): string {
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
    listen 127.0.0.1:${port}${takesTls ? ' ssl' : ''} backlog=1024;${takesTls ? serverTls : ''}
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
