/** The long-running roles: control, gateway, sidecar, agent, and the demonstration that starts them all. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Command, Option } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import { parseSpiffeId, parseTrustDomain } from '../../identity/spiffe.ts'
import { parseHostName, parseIpAddress } from '../../mesh/alt-names.ts'
import type { Credentials } from '../../mesh/credentials.ts'
import { restOptimiser } from '../../telemetry/optimiser.ts'
import { type IdentityTokenFlags, tokenSourceOf } from '../identity-token.ts'
import {
  collect,
  durationWithin,
  type HostPort,
  parseDuration,
  parseHostPort,
  parseHttpsUrl,
  readBy,
  readInput,
  setting,
  tokenOf,
} from '../options.ts'
import { printJson } from '../output.ts'
import { version } from '../version.ts'

/** As `control/main.ts` has them, which is loaded when it runs. */
const svidTtlMsMin = 10_000
const svidTtlMsMax = 24 * 60 * 60 * 1000

export const roleNames: readonly string[] = ['control', 'gateway', 'sidecar', 'agent', 'demo']

export function addRoleCommands(program: Command): void {
  addControl(program)
  addProxy(program, 'gateway', 'end clients’ TLS behind NGINX and send each request to the sidecar of a replica')
  addProxy(program, 'sidecar', 'guard one Cassandra node: judge each statement, forward what is permitted')
  addAgent(program)
  addDemo(program)
}

function addControl(program: Command): void {
  program
    .command('control')
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
    .addOption(setting('control', '--kubernetes-token-file <file>', 'token that it is asked with; in a Pod its own'))
    .addOption(setting('control', '--kubernetes-ca-file <file>', 'roots that it is known by; in a Pod its own'))
    .addOption(outputOption('once it is up, print where'))
    .action(async (flags: ControlFlags) => {
      const [{ startControl }, { callsOutside }] = await Promise.all([
        import('../../control/main.ts'),
        import('../../mesh/call-out.ts'),
      ])
      const control = await startControl({
        stateDir: flags.stateDir,
        listen: flags.listen,
        trustDomain: flags.trustDomain,
        svidTtlMs: flags.svidTtl,
        policy:
          flags.policy === undefined
            ? undefined
            : { source: readInput(flags.policy, '--policy'), fileName: flags.policy },
        name: flags.name,
        ipAddresses: flags.ip,
        dnsNames: flags.dns,
        version,
        outside: callsOutside({
          apiServer: flags.kubernetesApiServer,
          tokenFile: flags.kubernetesTokenFile,
          caFile: flags.kubernetesCaFile,
        }),
      })
      if (flags.output === 'json') printJson({ url: control.url, socketPath: control.socketPath })
      stopOnSignal(() => control.stop())
    })
}

interface ControlFlags {
  stateDir: string
  listen: HostPort
  trustDomain: string
  svidTtl: number
  policy?: string
  name: string
  ip?: string[]
  dns?: string[]
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
    .action(async (flags: { config: string; stateDir: string; token?: string }) => {
      const options = { configFile: flags.config, stateDir: flags.stateDir, joinToken: tokenOf(role, flags.token) }
      restOptimiser()
      if (role === 'gateway') await (await import('../../gateway/main.ts')).runGateway(options)
      else await (await import('../../sidecar/main.ts')).runSidecar(options)
    })
}

interface AgentFlags extends IdentityTokenFlags {
  controlUrl: string
  out: string
  stateDir?: string
  name?: string
  role: 'workload' | 'node'
  spiffeId?: string
  token?: string
  pemBundle?: string
  once?: boolean
}

function addAgent(program: Command): void {
  program
    .command('agent')
    .description('keep a workload’s certificate fresh: svid.pem, key.pem and bundle.pem in a folder')
    .addOption(
      setting('agent', '--control-url <url>', 'of the control plane')
        .argParser(parseHttpsUrl)
        .default('https://127.0.0.1:8443'),
    )
    .addOption(setting('agent', '--out <dir>', 'where to write svid.pem, key.pem and bundle.pem').makeOptionMandatory())
    .addOption(setting('agent', '--state-dir <dir>', 'where the agent keeps its identity (the folder of --out)'))
    .addOption(setting('agent', '--name <name>', 'shown by status'))
    .addOption(
      setting('agent', '--role <role>', 'that the token is for').choices(['workload', 'node']).default('workload'),
    )
    .addOption(
      setting('agent', '--spiffe-id <id>', 'refuse to run under any other identity').argParser(readBy(parseSpiffeId)),
    )
    .addOption(
      setting('agent', '--pem-bundle <file>', 'also write key, certificates and roots into one file, for Cassandra'),
    )
    .option('--token <token>', 'join token, at the first start (also: RINGFENCE_AGENT_TOKEN, …_TOKEN_FILE)')
    .addOption(
      setting(
        'agent',
        '--identity-token-file <file>',
        'in the place of a join token: a token of an identity provider, read again at each renewal',
      ),
    )
    .addOption(setting('agent', '--identity-token-command <command>', 'or what this command prints'))
    .addOption(
      setting(
        'agent',
        '--trust-bundle <file>',
        'roots by which the control plane is known, before it is shown a token',
      ),
    )
    .option('--once', 'write the files and end')
    .action(runAgent)
}

async function runAgent(flags: AgentFlags): Promise<void> {
  const [{ startAgent }, { writeFileAtomically }, { createLogger }] = await Promise.all([
    import('../../agent/agent.ts'),
    import('../../mesh/files.ts'),
    import('../../telemetry/log.ts'),
  ])
  const log = createLogger('agent')
  const { out, role, controlUrl } = flags
  const tokenSource = tokenSourceOf(flags)
  if (tokenSource !== undefined && role !== 'workload')
    throw new RingfenceError('USAGE', `a token of an identity provider is for the role workload, not for ${role}`)
  mkdirSync(out, { recursive: true, mode: 0o700 })
  const agent = await startAgent({
    role,
    name: flags.name ?? 'agent',
    stateDir: flags.stateDir ?? out,
    controlUrl,
    joinToken: tokenOf('agent', flags.token),
    tokenSource,
    log,
  })
  const { spiffeId } = agent.credentials.current
  if (flags.spiffeId !== undefined && flags.spiffeId !== spiffeId) {
    await agent.stop()
    throw new RingfenceError('IDENTITY', `this agent is ${spiffeId}, not ${flags.spiffeId}`)
  }
  // The key first: a reader between two files sees a pair that does not fit and tries again, never a key of mode 0644.
  const write = ({ keyPem, certificatePem, bundlePem }: Credentials): void => {
    writeFileAtomically(join(out, 'key.pem'), keyPem, 0o600)
    writeFileAtomically(join(out, 'svid.pem'), certificatePem, 0o644)
    writeFileAtomically(join(out, 'bundle.pem'), bundlePem, 0o644)
    if (flags.pemBundle !== undefined) writeFileAtomically(flags.pemBundle, keyPem + certificatePem + bundlePem, 0o600)
  }
  write(agent.credentials.current)
  log.info({ spiffeId, out, notAfterMs: agent.credentials.current.notAfterMs }, 'certificate written')
  if (flags.once === true) return agent.stop()
  agent.credentials.observe(write)
  stopOnSignal(() => agent.stop())
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

/** The first signal ends the role in order, a second one at once. */
function stopOnSignal(stop: () => Promise<void>): void {
  let stopping = false
  const end = (): void => {
    if (stopping) process.exit(1)
    stopping = true
    stop().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  }
  process.on('SIGINT', end)
  process.on('SIGTERM', end)
}
