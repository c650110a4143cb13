/** The long-running roles: control, gateway, sidecar, agents, and the demonstration that starts them all. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Command, Option } from 'commander'
import type { SvidFrom } from '../../agent/svid-source.ts'
import { RingfenceError } from '../../base/errors.ts'
import { certificatesOf } from '../../identity/chain.ts'
import { parseTrustDomain } from '../../identity/spiffe.ts'
import { type AdminAddress, parseAdminAddress } from '../../mesh/admin/address.ts'
import { parseHostName, parseIpAddress } from '../../mesh/alt-names.ts'
import { parseWorkloadApiAddress } from '../../mesh/workload-api/address.ts'
import { restOptimiser } from '../../telemetry/optimiser.ts'
import {
  collect,
  durationWithin,
  type HostPort,
  parseDuration,
  parseHostPort,
  readBy,
  readInput,
  setting,
  tokenOf,
} from '../options.ts'
import { printJson } from '../output.ts'
import { stopOnSignal } from '../stop-on-signal.ts'
import { version } from '../version.ts'
import { addAgent, addCertSync } from './agent.ts'
import { addControlBackup } from './control-backup.ts'

/** As `control/main.ts` has them, which is loaded when it runs. */
const svidTtlMsMin = 10_000
const svidTtlMsMax = 24 * 60 * 60 * 1000

export const roleNames: readonly string[] = ['control', 'gateway', 'sidecar', 'agent', 'cert-sync', 'demo']

export function addRoleCommands(program: Command): void {
  addControl(program)
  addProxy(program, 'gateway', 'end clients’ TLS behind NGINX and send each request to the sidecar of a replica')
  addProxy(program, 'sidecar', 'guard one Cassandra node: judge each statement, forward what is permitted')
  addAgent(program)
  addCertSync(program)
  addDemo(program)
}

function addControl(program: Command): void {
  const control = program.command('control')
  addControlBackup(control)
  control
    .description('run the control plane: certificate authority, enrolment, policy')
    .addOption(setting('control', '--state-dir <dir>', 'keys, store and admin socket').default('.ringfence/control'))
    .addOption(
      setting('control', '--listen <address:port>', 'where proxies reach it')
        .argParser(parseHostPort)
        .default({ address: '127.0.0.1', port: 8443 }, '127.0.0.1:8443'),
    )
    .addOption(
      setting('control', '--trust-domain <name>', 'of every identity here')
        .argParser(readBy(parseTrustDomain))
        .default('demo.local'),
    )
    .addOption(
      setting('control', '--svid-ttl <duration>', 'life of certificates, 5m to 24h')
        .argParser(durationWithin(svidTtlMsMin, svidTtlMsMax, '5m to 24h'))
        .default(parseDuration('1h'), '1h'),
    )
    .addOption(
      setting('control', '--issuing-ttl <duration>', 'life of the issuing key, at least six times --svid-ttl')
        .argParser(parseDuration)
        .default(parseDuration('30d'), '30d'),
    )
    .addOption(
      setting(
        'control',
        '--root-ttl <duration>',
        'life of the root, at least that of the issuing key; ten years by default',
      ).argParser(parseDuration),
    )
    .addOption(setting('control', '--policy <file>', 'policy to apply at start where it differs from the one in force'))
    .addOption(setting('control', '--name <name>', 'of this instance').default('default'))
    .option(
      '--ip <address>',
      'address in its own certificate, for clients that check it; may be repeated',
      collect(readBy(parseIpAddress)),
    )
    .option('--dns <name>', 'host name in its own certificate; may be repeated', collect(readBy(parseHostName)))
    .addOption(
      setting('control', '--kubernetes-api-server <url>', 'that reviews tokens; in a Pod the one of its cluster'),
    )
    .addOption(
      setting('control', '--admin <address>', 'probes and metrics at 127.0.0.1:<port> or unix:<path>').argParser(
        readBy(parseAdminAddress),
      ),
    )
    .option('--admin-profiling', 'profiles of the process too, at that address')
    .addOption(
      setting(
        'control',
        '--roots-from <socket>',
        'SPIFFE Workload API, such as unix:///run/spire/agent.sock, whose roots of this trust domain are trusted beside its own',
      ).argParser(readBy(parseWorkloadApiAddress)),
    )
    .addOption(setting('control', '--kubernetes-token-file <file>', 'token that it is asked with; in a Pod its own'))
    .addOption(setting('control', '--kubernetes-ca-file <file>', 'roots that it is known by; in a Pod its own'))
    .addOption(outputOption('once it is up, print where'))
    .action(async (flags: ControlFlags) => {
      const { svidTtl, issuingTtl, rootTtl } = flags
      refuseLives(svidTtl, issuingTtl, rootTtl)
      const [{ startControl }, { callsOutside }] = await Promise.all([
        import('../../control/main.ts'),
        import('../../mesh/call-out.ts'),
      ])
      const running = await startControl({
        stateDir: flags.stateDir,
        listen: flags.listen,
        trustDomain: flags.trustDomain,
        svidTtlMs: svidTtl,
        authorityLives: { issuingMs: issuingTtl, rootMs: rootTtl },
        policy:
          flags.policy === undefined
            ? undefined
            : { source: readInput(flags.policy, '--policy'), fileName: flags.policy },
        name: flags.name,
        admin: flags.admin && { listen: flags.admin, profiling: flags.adminProfiling === true },
        ipAddresses: flags.ip,
        dnsNames: flags.dns,
        rootsFrom: flags.rootsFrom,
        version,
        outside: callsOutside({
          apiServer: flags.kubernetesApiServer,
          tokenFile: flags.kubernetesTokenFile,
          caFile: flags.kubernetesCaFile,
        }),
      })
      if (flags.output === 'json') printJson({ url: running.url, socketPath: running.socketPath })
      stopOnSignal(() => running.stop())
    })
}

/** A key signs until 5/6 of its life, so the last sixth is to be as long as what it signed last lives. */
const livesInOne = 6

function refuseLives(svidMs: number, issuingMs: number, rootMs: number | undefined): void {
  const refused =
    issuingMs < livesInOne * svidMs
      ? '--issuing-ttl is less than six times --svid-ttl'
      : rootMs !== undefined && rootMs < issuingMs
        ? '--root-ttl is less than --issuing-ttl'
        : undefined
  if (refused === undefined) return
  const hint = 'a key signs until 5/6 of its life, and what it signed last is to live as long as it says'
  throw new RingfenceError('USAGE', refused, { hint })
}

interface ControlFlags {
  stateDir: string
  listen: HostPort
  trustDomain: string
  svidTtl: number
  issuingTtl: number
  rootTtl?: number
  policy?: string
  admin?: AdminAddress
  adminProfiling?: boolean
  name: string
  ip?: string[]
  dns?: string[]
  rootsFrom?: string
  kubernetesApiServer?: string
  kubernetesTokenFile?: string
  kubernetesCaFile?: string
  output: string
}

function addProxy(program: Command, role: 'gateway' | 'sidecar', description: string): void {
  program
    .command(role)
    .description(description)
    .addOption(setting(role, '--config <file>', 'what to listen at and where to go').makeOptionMandatory())
    .addOption(setting(role, '--state-dir <dir>', 'identity and last good policy').default(`.ringfence/${role}`))
    .option(
      '--token <token>',
      `join token, at the first start (also: RINGFENCE_${role.toUpperCase()}_TOKEN, …_TOKEN_FILE)`,
    )
    .addOption(
      setting(
        role,
        '--svid-from <socket>',
        'SPIFFE Workload API that it takes its certificate from, such as unix:///run/spire/agent.sock; no join token then',
      ).argParser(readBy(parseWorkloadApiAddress)),
    )
    .addOption(
      setting(role, '--trust-domain <name>', 'with --svid-from: refuse an SVID of any other').argParser(
        readBy(parseTrustDomain),
      ),
    )
    .addOption(
      setting(
        role,
        '--trust-bundle <file>',
        'with --svid-from: roots by which the control plane is known, where the Workload API does not give them',
      ),
    )
    .action(async (flags: ProxyFlags) => {
      const options = {
        configFile: flags.config,
        stateDir: flags.stateDir,
        joinToken: tokenOf(role, flags.token),
        svidFrom: svidFromOf(flags),
        version,
      }
      if (options.svidFrom !== undefined && options.joinToken !== undefined)
        throw new RingfenceError('USAGE', 'a join token is for who enrols here, not for --svid-from')
      restOptimiser()
      if (role === 'gateway') await (await import('../../gateway/main.ts')).runGateway(options)
      else await (await import('../../sidecar/main.ts')).runSidecar(options)
    })
}

interface ProxyFlags {
  config: string
  stateDir: string
  token?: string
  svidFrom?: string
  trustDomain?: string
  trustBundle?: string
}

/** @throws RingfenceError USAGE */
function svidFromOf({ svidFrom, trustDomain, trustBundle }: ProxyFlags): SvidFrom | undefined {
  if (svidFrom === undefined) {
    if (trustDomain === undefined && trustBundle === undefined) return undefined
    throw new RingfenceError('USAGE', '--trust-domain and --trust-bundle of a proxy are for --svid-from')
  }
  const controlRootsPem = trustBundle === undefined ? undefined : readInput(trustBundle, '--trust-bundle')
  if (controlRootsPem !== undefined && certificatesOf(controlRootsPem).length === 0)
    throw new RingfenceError('USAGE', `--trust-bundle ${trustBundle} has no certificate`, {
      hint: 'ringfence bundle show writes one, as PEM',
    })
  return { socketPath: svidFrom, trustDomain, controlRootsPem }
}

function addDemo(program: Command): void {
  program
    .command('demo')
    .description(
      'start everything on this machine: Cassandra, sidecars, control plane, gateway, NGINX, sample workloads',
    )
    .allowUnknownOption()
    .passThroughOptions()
    .helpOption(false)
    .argument('[args...]')
    .action(async (args: string[]) => {
      const script = fileURLToPath(new URL('../../../demo/main.ts', import.meta.url))
      if (!existsSync(script))
        throw new RingfenceError('UNAVAILABLE', 'the demonstration is not part of this installation')
      const child = spawn(process.execPath, [script, ...args], { stdio: 'inherit' })
      // A terminal sends SIGINT to the child too; it stops what it started, and we wait for that.
      process.on('SIGINT', () => {})
      process.on('SIGTERM', () => child.kill('SIGTERM'))
      process.exitCode = await new Promise<number>((resolve, reject) => {
        child.on('error', reject)
        child.on('exit', (code) => resolve(code ?? 1))
      })
    })
}

function outputOption(description: string): Option {
  return new Option('-o, --output <format>', description).choices(['table', 'json']).default('table')
}
