/** `nginx config`: NGINX's configuration out of the mesh's own state, tried with `nginx -t` before it is handed out. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import { nginxConfig } from '../../control/nginx-config.ts'
import type { NginxApplication, NginxHttpOptions } from '../../control/nginx-http.ts'
import { writeFileAtomically } from '../../mesh/files.ts'
import { AdminClient } from '../admin-client.ts'
import { collect, formatHostPort, type HostPort, parseCount, parseHostPort } from '../options.ts'
import { print, printAsIs, printJson } from '../output.ts'
import { type AdminFlags, adminCommand } from './admin-command.ts'

interface NginxFlags extends AdminFlags {
  readonly listen?: HostPort[]
  readonly gateway?: HostPort[]
  readonly out?: string
  readonly check?: boolean
  readonly nginx: string
  readonly pidFile: string
  readonly errorLog: string
  readonly accessLog: string
  readonly workers: number | 'auto'
  readonly application?: NginxApplication[]
  readonly httpListen?: HostPort[]
  readonly httpGateway: HostPort
  readonly httpCertificate?: string
  readonly httpKey?: string
}

export interface NginxProgram {
  readonly version: string
  /** Where ngx_stream_module.so lies if `stream` is a dynamic module. */
  readonly streamModule: string | undefined
  readonly stream: 'static' | 'dynamic' | 'absent'
}

export function addNginx(program: Command): void {
  const nginx = program.command('nginx').description('the public door')
  adminCommand(nginx, 'config', 'make NGINX’s configuration from the gateways that are there')
    .option(
      '--listen <address:port>',
      'where clients connect, 0.0.0.0:9042 by default; may be repeated',
      collect(parseHostPort),
    )
    .option('--gateway <address:port>', 'instead of the gateways that report; may be repeated', collect(parseHostPort))
    .option('--out <file>', 'write it there instead of printing it')
    .option('--check', 'try it with nginx -t')
    .option('--nginx <program>', 'the program to try it with', 'nginx')
    .option('--pid-file <file>', 'of NGINX', '/run/ringfence-nginx.pid')
    .option('--error-log <file>', 'of NGINX', 'stderr')
    .option('--access-log <file>', 'of NGINX, or off', 'off')
    .addOption(
      new Option('--workers <count>', 'worker processes')
        .argParser((text) => (text === 'auto' ? text : parseCount(text)))
        .default('auto'),
    )
    .option(
      '--application <name,host,address:port>',
      'a web application: its name in the gateway’s configuration, its host, and where it is; may be repeated',
      collect(parseApplication),
    )
    .option(
      '--http-listen <address:port>',
      'where browsers connect, 0.0.0.0:443 by default; may be repeated',
      collect(parseHostPort),
    )
    .addOption(
      new Option('--http-gateway <address:port>', '`http` of the gateway on this host')
        .argParser(parseHostPort)
        .default({ address: '127.0.0.1', port: 9180 }, '127.0.0.1:9180'),
    )
    .option('--http-certificate <file>', 'certificate chain of the web applications')
    .option('--http-key <file>', 'its key')
    .action(run)
}

async function run(flags: NginxFlags): Promise<void> {
  const gateways = flags.gateway ?? (await reportedGateways(flags.stateDir))
  const found = findNginx(flags.nginx)
  const text = nginxConfig({
    listen: flags.listen ?? [{ address: '0.0.0.0', port: 9042 }],
    gateways,
    pidFile: absolute(flags.pidFile),
    errorLog: absolute(flags.errorLog),
    accessLog: absolute(flags.accessLog),
    workers: flags.workers,
    streamModule: found?.streamModule,
    http: httpOf(flags),
  })
  if (flags.check === true) tryConfig(flags.nginx, text)
  if (flags.out !== undefined) writeFileAtomically(flags.out, text, 0o644)
  if (flags.output === 'json') printJson({ gateways, config: text, out: flags.out, checked: flags.check === true })
  else if (flags.out === undefined) printAsIs(text)
  else print(`${flags.out} written${flags.check === true ? ' and tried with nginx -t' : ''}`)
}

function httpOf(flags: NginxFlags): NginxHttpOptions | undefined {
  const { application: applications, httpListen = [{ address: '0.0.0.0', port: 443 }], httpGateway } = flags
  const { httpCertificate: file, httpKey: keyFile } = flags
  if (applications === undefined) return undefined
  if ((file === undefined) !== (keyFile === undefined))
    throw new RingfenceError('USAGE', '--http-certificate and --http-key belong together')
  const certificate =
    file === undefined || keyFile === undefined ? undefined : { file: resolve(file), keyFile: resolve(keyFile) }
  return { listen: httpListen.map(formatHostPort), certificate, gateway: formatHostPort(httpGateway), applications }
}

/** @throws RingfenceError USAGE */
function parseApplication(text: string): NginxApplication {
  const [name = '', serverName = '', upstream = '', ...more] = text.split(',')
  if (upstream === '' || more.length > 0)
    throw new RingfenceError('USAGE', `not an application: ${text}`, { hint: 'shop,shop.example.com,127.0.0.1:3000' })
  return { name, serverName, upstream }
}

async function reportedGateways(stateDir: string): Promise<HostPort[]> {
  const { proxies } = await new AdminClient(stateDir).status()
  return proxies
    .filter(({ role, connected, draining }) => role === 'gateway' && connected && !draining)
    .flatMap(({ listeners }) => listeners)
    .filter(({ proxyProtocol }) => proxyProtocol)
    .map(({ address, port }) => ({ address: address === '0.0.0.0' || address === '::' ? '127.0.0.1' : address, port }))
}

/** `undefined` where there is no such program. */
export function findNginx(program: string): NginxProgram | undefined {
  const ran = spawnSync(program, ['-V'], { encoding: 'utf8' })
  if (ran.error !== undefined || ran.status !== 0) return undefined
  const version = /nginx version: \S+?\/(\S+)/.exec(ran.stderr)?.[1] ?? 'unknown'
  if (!/--with-stream=dynamic\b/.test(ran.stderr)) {
    const stream = /--with-stream(?![=_\w])/.test(ran.stderr) ? 'static' : 'absent'
    return { version, streamModule: undefined, stream }
  }
  const folder = /--modules-path=(\S+)/.exec(ran.stderr)?.[1]
  const prefix = /--prefix=(\S+)/.exec(ran.stderr)?.[1] ?? '/usr/share/nginx'
  const streamModule = [folder, join(prefix, 'modules'), '/usr/lib/nginx/modules', '/usr/lib64/nginx/modules']
    .filter((path) => path !== undefined)
    .map((path) => join(path, 'ngx_stream_module.so'))
    .find((path) => existsSync(path))
  return { version, streamModule, stream: streamModule === undefined ? 'absent' : 'dynamic' }
}

/** @throws RingfenceError UNAVAILABLE without NGINX, CONFIG with NGINX's own words where it refuses */
export function tryConfig(program: string, text: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-nginx-'))
  try {
    const file = join(folder, 'nginx.conf')
    writeFileAtomically(file, text, 0o600)
    const ran = spawnSync(program, ['-t', '-c', file], { encoding: 'utf8' })
    if (ran.error !== undefined) {
      throw new RingfenceError('UNAVAILABLE', `${program} cannot be run: ${ran.error.message}`, {
        hint: 'apt-get install nginx libnginx-mod-stream',
      })
    }
    if (ran.status !== 0) throw new RingfenceError('CONFIG', `nginx refuses the configuration\n${ran.stderr.trim()}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** NGINX reads relative paths from its own prefix; people mean theirs. */
function absolute(path: string): string {
  return path === 'off' || path === 'stderr' ? path : resolve(path)
}
