/** The public door: NGINX with a folder of its own, so that the machine's other NGINX and its settings play no part. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nginxConfig } from '../../src/control/nginx-config.ts'
import type { NginxHttpOptions } from '../../src/control/nginx-http.ts'
import { isOpen } from './cassandra.ts'
import { writeSiteCertificate } from './certificates.ts'
import type { HostPort } from './layout.ts'
import type { Making } from './mesh-options.ts'
import { type MeshPart, partOf, untilReady } from './part.ts'
import { nginxHttpOf } from './people.ts'
import type { Child, Processes } from './processes.ts'
import { type NginxProgram, runProgram } from './setup.ts'

/** Before the gateway, and before the web application where there is one. */
export function nginxPart({ layout, options, programs, processes, admin }: Making): MeshPart {
  const { nginx, gateway, dirs } = layout
  return partOf('nginx', async () => {
    const http = options.people === true ? nginxHttpOf(layout) : undefined
    if (http !== undefined) await writeSiteCertificate(admin, layout)
    const child = await startNginx(
      {
        listen: [nginx],
        gateways: [gateway],
        dir: dirs.nginx,
        program: programs.nginx,
        workers: options.gatewayWorkers,
        http,
      },
      processes,
    )
    await untilReady(child, () => isOpen(nginx.address, nginx.port))
    return child
  })
}

interface NginxOptions {
  readonly listen: readonly HostPort[]
  readonly gateways: readonly HostPort[]
  /** Prefix: configuration, logs and pid file lie here. */
  readonly dir: string
  readonly program: NginxProgram
  readonly workers: number
  /** Web applications behind it. */
  readonly http: NginxHttpOptions | undefined
}

/** Writes the configuration that `ringfence nginx config` makes, has `nginx -t` check it, and starts. Throws UNAVAILABLE. */
async function startNginx(options: NginxOptions, processes: Processes): Promise<Child> {
  const { dir, program } = options
  mkdirSync(dir, { recursive: true })
  const configFile = join(dir, 'nginx.conf')
  writeFileSync(
    configFile,
    nginxConfig({
      listen: options.listen,
      gateways: options.gateways,
      pidFile: join(dir, 'nginx.pid'),
      errorLog: join(dir, 'error.log'),
      accessLog: join(dir, 'access.log'),
      workers: options.workers,
      streamModule: program.streamModule,
      http: options.http,
    }),
  )
  // `-e` keeps it from opening the system's own error log before it has read ours.
  const where = ['-p', dir, '-c', configFile, '-e', join(dir, 'error.log')]
  await runProgram(program.program, ['-t', '-q', ...where])
  return processes.spawn('nginx', program.program, [...where, '-g', 'daemon off;'])
}
