/**
 * Ours: a gateway and a sidecar with policy and audit on, as an operator would start them, their certificates from a control
 * plane of its own. The control plane is not in the path of a request and its CPU is not counted.
 */
import { type ChildProcess, execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Credentials } from '../certificates.ts'
import { policyOf } from '../policy.ts'
import { freePort, start, untilListening } from '../processes.ts'
import { type BenchContext, type StartSystem, type System, slugOf, startStub } from './system.ts'

const ownRoot = join(import.meta.dirname, '..', '..')
const workload = 'spiffe://bench.local/workload/load'

/** Whom its policy concerns. */
export const benchWorkloads = 'spiffe://bench.local/workload/*'

export interface MeshOptions {
  /** As the table shows it. */
  readonly name: string
  /** Rules of the policy, all of which concern the workload that makes the load. */
  readonly rulesCount?: number
  /** A policy instead of those rules. */
  readonly policy?: string
  /** Environment of the sidecar, beside that of this process. */
  readonly sidecarEnv?: Readonly<Record<string, string>>
  readonly gatewayEnv?: Readonly<Record<string, string>>
  /** What the listeners with TLS take; a certificate where it is left out. */
  readonly authentication?: string
  /** Of the gateway; those of the whole run by default. */
  readonly workers?: number
  /** The tree that is measured; this one by default. Load maker and stub are always this tree's. */
  readonly root?: string
  /** Gateway and sidecar write a CPU profile here when they end. */
  readonly profileDirectory?: string
}

export interface MeshSystem extends System {
  readonly controlUrl: string
  /** Where drivers reach the sidecar itself, by TLS. */
  readonly sidecarPort: number
  readonly sidecar: ChildProcess
  readonly gateway: ChildProcess
  /** A certificate for one more workload, once. */
  enrol(spiffeId: string): Credentials
  /** Puts another policy in force. */
  applyPolicy(source: string): Promise<void>
}

export const mesh =
  (options: MeshOptions): StartSystem =>
  (context) =>
    startMesh(context, options)

/** `RINGFENCE_BENCH_RECORD=sealed` measures this tree with the sealed record, whatever a tree beside it has. */
function recordOf({ root }: MeshOptions): object {
  const { RINGFENCE_BENCH_RECORD: format } = process.env
  return root === undefined && format !== undefined ? { format } : {}
}

export async function startMesh(context: BenchContext, options: MeshOptions): Promise<MeshSystem> {
  const slug = slugOf(options.name)
  const directory = join(context.directory, slug)
  mkdirSync(directory)
  const control = await startControl(context, directory, slug, options)
  const stub = await startStub(context, slug, control.enrol('node', 'spiffe://bench.local/cassandra/stub'))
  const client = control.enrol('workload', workload)

  const asked = options.authentication === undefined ? {} : { authentication: options.authentication }
  const sidecarPort = await freePort()
  const sidecarSpec = {
    dataCenter: 'dc1',
    rack: 'rack1',
    upstream: { address: '127.0.0.1', port: stub },
    listeners: [{ address: '127.0.0.1', port: sidecarPort, ...asked }],
    audit: { directory: join(directory, 'audit'), ...recordOf(options) },
  }
  const sidecar = control.startProxy('sidecar', sidecarSpec, options.sidecarEnv)
  await untilListening(sidecar, sidecarPort, 'the sidecar')

  const port = await freePort()
  const tlsPort = await freePort()
  const place = { address: '127.0.0.1', port }
  const gatewaySpec = {
    workers: options.workers ?? context.workers,
    listeners: [
      { ...place, tls: false, identity: workload },
      { ...place, port: tlsPort, ...asked },
    ],
    advertise: [place],
  }
  const gateway = control.startProxy('gateway', gatewaySpec, options.gatewayEnv)
  for (const each of [port, tlsPort]) await untilListening(gateway, each, 'the gateway')
  const pids = [gateway.pid!, sidecar.pid!]
  return {
    name: options.name,
    controlUrl: control.url,
    port,
    tlsPort,
    credentials: client,
    pids,
    sidecarPort,
    sidecar,
    gateway,
    enrol: (spiffeId) => control.enrol('workload', spiffeId),
    applyPolicy: (source) => control.applyPolicy(source),
  }
}

async function startControl(context: BenchContext, directory: string, slug: string, options: MeshOptions) {
  const commandOf = await commandsOf(options.root ?? ownRoot)
  const profile =
    options.profileDirectory === undefined
      ? {}
      : { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${options.profileDirectory}` }
  const stateDir = join(directory, 'control')
  const policy = join(directory, 'policy.yaml')
  const rules = options.policy ?? policyOf(options.rulesCount ?? 50, benchWorkloads, 'bench')
  writeFileSync(policy, rules)
  const port = await freePort()
  const run = ['control', '--state-dir', stateDir, '--listen', `127.0.0.1:${port}`, '--trust-domain', 'bench.local']
  const startProgram = (name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
    const command = commandOf(args)
    return start(join(context.directory, `${slug}-${name}.log`), command.file, command.args, { ...command.env, ...env })
  }
  const child = startProgram('control', [...run, '--policy', policy])
  await untilListening(child, port, 'the control plane')
  const url = `https://127.0.0.1:${port}`

  const ringfence = (...args: string[]): string => {
    const command = commandOf(args)
    return execFileSync(command.file, command.args, { encoding: 'utf8' })
  }
  const tokenFor = (role: string, spiffeId: string): string => {
    const order = ['token', 'generate', '--state-dir', stateDir, '--spiffe-id', spiffeId, '--role', role]
    // An older tree takes a gateway at its word.
    const named = role === 'gateway' && ringfence('token', 'generate', '--help').includes('--listener-identity')
    return ringfence(...order, ...(named ? ['--listener-identity', workload] : [])).trim()
  }
  return {
    url,
    /** A certificate for a node or workload, once; the bench is over before it ends. */
    enrol(role: 'node' | 'workload', spiffeId: string): Credentials {
      const out = join(directory, spiffeId.slice(spiffeId.lastIndexOf('/') + 1))
      const token = tokenFor(role, spiffeId)
      ringfence('agent', '--once', '--control-url', url, '--role', role, '--token', token, '--out', out)
      return { cert: join(out, 'svid.pem'), key: join(out, 'key.pem'), ca: join(out, 'bundle.pem') }
    },
    /** While this process goes on: whoever measures may be in it. */
    async applyPolicy(source: string): Promise<void> {
      writeFileSync(policy, source)
      const { file, args } = commandOf(['policy', 'apply', '-f', policy, '--state-dir', stateDir])
      await promisify(execFile)(file, args).catch((reason: { stdout?: string }) => {
        // Applied, and on a busy machine not in force as soon as the command waits for.
        if (reason.stdout?.startsWith('revision ') !== true) throw reason
      })
    },
    startProxy(role: 'gateway' | 'sidecar', spec: object, env: Readonly<Record<string, string>> = {}) {
      const kind = role === 'gateway' ? 'Gateway' : 'Sidecar'
      const document = {
        apiVersion: 'ringfence.dev/v1alpha1',
        kind,
        metadata: { name: role },
        spec: { control: { url }, ...spec },
      }
      const config = join(directory, `${role}.yaml`)
      // JSON is YAML.
      writeFileSync(config, JSON.stringify(document, null, 2))
      const token = tokenFor(role, `spiffe://bench.local/ringfence/${role}/bench`)
      return startProgram(role, [role, '--config', config, '--state-dir', join(directory, role), '--token', token], {
        ...profile,
        ...env,
      })
    },
  }
}

interface Command {
  readonly file: string
  readonly args: string[]
  readonly env: Readonly<Record<string, string>>
}

/**
 * What `bin/ringfence.mjs` of that tree hands over to: without the process in between, a signal is all that it takes to stop one. Trees
 * older than `bin/command.mjs` hand over to Node.js without more.
 */
async function commandsOf(root: string): Promise<(args: readonly string[]) => Command> {
  const file = join(root, 'bin', 'command.mjs')
  if (!existsSync(file)) {
    const program = join(root, 'src', 'cli', 'main.ts')
    return (args) => ({ file: process.execPath, args: [program, ...args], env: {} })
  }
  const { commandOf } = (await import(file)) as { commandOf(args: readonly string[]): Command }
  return commandOf
}
