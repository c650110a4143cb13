/** `agent` and `cert-sync`: a certificate that is renewed in time, as files with a command for whoever serves from them, or by the Workload API. */
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Agent } from '../../agent/agent.ts'
import type { WorkloadApi } from '../../agent/workload-api/server.ts'
import { systemClock } from '../../base/clock.ts'
import { RingfenceError } from '../../base/errors.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import type { AgentRole } from '../../mesh/roles.ts'
import type { Logger } from '../../telemetry/log.ts'
import { type IdentityTokenFlags, tokenSourceOf } from '../identity-token.ts'
import { parseHttpsUrl, readBy, setting, tokenOf } from '../options.ts'
import { stopOnSignal } from '../stop-on-signal.ts'
import { addAgents } from './agents.ts'

interface AgentFlags extends IdentityTokenFlags {
  controlUrl: string
  out?: string
  stateDir?: string
  name?: string
  role: AgentRole & ('workload' | 'node')
  spiffeId?: string
  token?: string
  pemBundle?: string
  exec?: string
  once?: boolean
  workloadApi?: string
  workloadApiMode?: string
}

export function addAgent(program: Command): void {
  const description =
    'keep a workload’s certificate fresh: svid.pem, key.pem and bundle.pem in a folder, or by the SPIFFE Workload API'
  const agent = program.command('agent')
  addAgents(agent)
  withFlags(agent.description(description), 'agent', 'workload')
    .addOption(
      setting(
        'agent',
        '--workload-api <socket>',
        'serve the SPIFFE Workload API at this Unix socket, beside --out or alone',
      ),
    )
    .addOption(
      setting('agent', '--workload-api-mode <mode>', 'who may open it: its owner, its group, everybody')
        .choices(['0600', '0660', '0666'])
        .default('0600'),
    )
    .action((flags: AgentFlags) => keepFresh('agent', flags))
}

export function addCertSync(program: Command): void {
  const description =
    'keep the certificate of a server fresh, NGINX’s for instance: combined.pem, svid.pem, key.pem and bundle.pem in a folder'
  withFlags(program.command('cert-sync').description(description), 'cert-sync', 'node')
    .addOption(
      setting('cert-sync', '--exec <command>', 'run at the start and after each change, such as nginx -s reload'),
    )
    .action((flags: AgentFlags) => keepFresh('cert-sync', flags))
}

function withFlags(command: Command, verb: 'agent' | 'cert-sync', role: AgentFlags['role']): Command {
  const tokenName = `RINGFENCE_${envName(verb)}_TOKEN`
  return command
    .addOption(
      setting(verb, '--control-url <url>', 'of the control plane')
        .argParser(parseHttpsUrl)
        .default('https://127.0.0.1:8443'),
    )
    .addOption(setting(verb, '--out <dir>', 'where to write the files').makeOptionMandatory(verb === 'cert-sync'))
    .addOption(setting(verb, '--state-dir <dir>', 'where the agent keeps its identity (the folder of --out)'))
    .addOption(setting(verb, '--name <name>', 'shown by status'))
    .addOption(setting(verb, '--role <role>', 'that the token is for').choices(['workload', 'node']).default(role))
    .addOption(
      setting(verb, '--spiffe-id <id>', 'refuse to run under any other identity').argParser(readBy(parseSpiffeId)),
    )
    .addOption(
      setting(verb, '--pem-bundle <file>', 'also write key, certificates and their root into one file, for Cassandra'),
    )
    .option('--token <token>', `join token, at the first start (also: ${tokenName}, …_TOKEN_FILE)`)
    .addOption(
      setting(
        verb,
        '--identity-token-file <file>',
        'in the place of a join token: a token of an identity provider, read again at each renewal',
      ),
    )
    .addOption(setting(verb, '--identity-token-command <command>', 'or what this command prints'))
    .addOption(
      setting(verb, '--trust-bundle <file>', 'roots by which the control plane is known, before it is shown a token'),
    )
    .option('--once', 'write the files and end')
}

function envName(verb: string): string {
  return verb.replaceAll('-', '_').toUpperCase()
}

async function keepFresh(verb: 'agent' | 'cert-sync', flags: AgentFlags): Promise<void> {
  const [{ startAgent }, { CertificateFiles, filesInFolder, tellByCommand }, { createLogger }] = await Promise.all([
    import('../../agent/agent.ts'),
    import('../../agent/certificate-files.ts'),
    import('../../telemetry/log.ts'),
  ])
  const log = createLogger(verb)
  const { out, role, controlUrl, exec, pemBundle, workloadApi } = flags
  const stateDir = flags.stateDir ?? out
  if (stateDir === undefined)
    throw new RingfenceError('USAGE', 'give --out; or --workload-api and --state-dir, where no files are wanted')
  if (out === undefined && (workloadApi === undefined || pemBundle !== undefined))
    throw new RingfenceError('USAGE', 'without --out there are no files: give --workload-api, and no --pem-bundle')
  if (workloadApi !== undefined && flags.once === true)
    throw new RingfenceError('USAGE', '--once ends when the files are written, so it is not for --workload-api')
  const tokenSource = tokenSourceOf(flags)
  if (tokenSource !== undefined && role !== 'workload')
    throw new RingfenceError('USAGE', `a token of an identity provider is for the role workload, not for ${role}`)
  // Before a token is spent.
  const files =
    out === undefined
      ? undefined
      : new CertificateFiles({
          files: filesInFolder({
            dir: resolve(out),
            combined: verb === 'cert-sync',
            pemBundle: pemBundle === undefined ? undefined : resolve(pemBundle),
          }),
          tell: exec === undefined ? undefined : tellByCommand(exec, log),
          log,
        })
  const agent = await startAgent({
    role,
    name: flags.name ?? verb,
    stateDir,
    controlUrl,
    joinToken: tokenOf(envName(verb), flags.token),
    tokenSource,
    log,
  })
  const { spiffeId } = agent.credentials.current
  if (flags.spiffeId !== undefined && flags.spiffeId !== spiffeId) {
    await agent.stop()
    throw new RingfenceError('IDENTITY', `this agent is ${spiffeId}, not ${flags.spiffeId}`)
  }
  if (flags.once === true) {
    try {
      await files?.put(agent.credentials.current)
    } finally {
      await agent.stop()
    }
    return
  }
  const api = workloadApi === undefined ? undefined : await served(workloadApi, flags, agent, log)
  files?.follow(agent.credentials)
  stopOnSignal(async () => {
    await Promise.all([agent.stop(), files?.stop(), api?.stop()])
  })
}

/** gRPC is loaded where somebody wants it. */
async function served(socket: string, flags: AgentFlags, agent: Agent, log: Logger): Promise<WorkloadApi> {
  const { startWorkloadApi } = await import('../../agent/workload-api/server.ts')
  const mode = Number.parseInt(flags.workloadApiMode ?? '0600', 8)
  const { credentials } = agent
  try {
    return await startWorkloadApi({ socketPath: resolve(socket), mode, credentials, clock: systemClock, log })
  } catch (reason) {
    await agent.stop()
    throw reason
  }
}
