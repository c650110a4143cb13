/**
 * Runs docs/production.md: an open cluster at the page's addresses, moved to this machine, and then each block in the page's order. Blocks for each
 * node that follow one another are one turn: a node has all of them before the next one has the first.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'cassandra-driver'
import { stringify } from 'yaml'
import { type CassandraNode, cassandraYaml, isOpen, javaArguments, logbackXml } from '../../demo/parts/cassandra.ts'
import { Processes } from '../../demo/parts/processes.ts'
import { createProgress } from '../../demo/parts/progress.ts'
import { type Parts, repoRoot, setUpParts } from '../../demo/parts/setup.ts'
import { toolchainOf } from '../e2e/drivers/toolchain.ts'
import { Applications, type Total, type Way } from './applications.ts'
import { type Host, Hosts, type Turn } from './hosts.ts'
import { missingLines, type Step, stepsOf } from './page.ts'
import { type Launch, Services } from './services.ts'

export const page: string = join(repoRoot, 'docs', 'production.md')
const shims = join(import.meta.dirname, 'shims')
const commandTimeoutMs = 240_000
/** What the demonstration sets for its locked nodes, and an open cluster does not have. */
const ofLockedNodes = /^auth_read_consistency_level$|^(permissions|roles|credentials)_/

export interface RehearsalOptions {
  /** With one node its restarts fail requests. */
  readonly nodes: number
  readonly say: (line: string) => void
}

export interface RehearsalResult {
  readonly steps: number
  readonly restarts: number
  readonly totals: readonly Total[]
  /** Units that the page left running. */
  readonly left: readonly string[]
}

/** @throws Error with the line of the page whose block did not do what the page says. */
export async function rehearse(options: RehearsalOptions): Promise<RehearsalResult> {
  const steps = stepsOf(readFileSync(page, 'utf8'))
  const parts = await setUpParts({ progress: createProgress() })
  const root = mkdtempSync(join(tmpdir(), 'rf-production-'))
  const rehearsal = await Rehearsal.open(root, parts, options)
  let done = false
  try {
    await rehearsal.startOpenCluster()
    for (const turn of rehearsal.turnsOf(steps)) await rehearsal.take(turn.step, turn.turns)
    const result = await rehearsal.result(steps.length)
    done = true
    return result
  } finally {
    await rehearsal.close()
    if (done && process.env.RINGFENCE_E2E_KEEP === undefined) rmSync(root, { recursive: true, force: true })
    else options.say(`files and logs are in ${root}`)
  }
}

interface TurnOfStep {
  readonly step: Step
  readonly turns: readonly Turn[]
}

class Rehearsal {
  readonly #root: string
  readonly #options: RehearsalOptions
  readonly #parts: Parts
  readonly #processes: Processes
  readonly #hosts: Hosts
  readonly #services: Services
  readonly #applications: Applications
  readonly #exports = new Map<string, string>()
  readonly #cqlsh: string
  #restarts = 0

  static async open(root: string, parts: Parts, options: RehearsalOptions): Promise<Rehearsal> {
    const python = await toolchainOf('cqlsh')
    if ('absent' in python) throw new Error(python.absent)
    const processes = await Processes.open(root)
    for (const folder of ['bin', 'cache']) mkdirSync(join(root, folder))
    symlinkSync(process.execPath, join(root, 'bin', 'node'))
    const rehearsal = new Rehearsal(root, parts, processes, options, python.program.env.RF_CQLSH ?? 'cqlsh')
    await rehearsal.#services.listen(rehearsal.#socketPath)
    return rehearsal
  }

  private constructor(root: string, parts: Parts, processes: Processes, options: RehearsalOptions, cqlsh: string) {
    this.#root = root
    this.#options = options
    this.#parts = parts
    this.#processes = processes
    this.#cqlsh = cqlsh
    this.#hosts = new Hosts(root, options.nodes, {
      '/opt/ringfence': repoRoot,
      '/usr/local/bin/ringfence': join(root, 'bin', 'ringfence'),
      '/usr/sbin/nginx': parts.nginx.program,
    })
    this.#services = new Services(this.#hosts, processes, (host) => this.#cassandra(host))
    this.#applications = new Applications(this.#hosts)
  }

  async startOpenCluster(): Promise<void> {
    for (const host of this.#hosts.nodes) {
      // As it comes, and no quicker than elsewhere: a node waits for gossip to settle before it takes clients.
      const open = Object.entries(cassandraYaml(this.#node(host))).filter(([key]) => !ofLockedNodes.test(key))
      this.#hosts.writeFile('/etc/cassandra/cassandra.yaml', stringify(Object.fromEntries(open)), host)
      const conf = join(host.root, 'etc/cassandra')
      writeFileSync(join(conf, 'logback.xml'), logbackXml(join(host.root, 'var/lib/cassandra/log')))
      writeFileSync(join(conf, 'cassandra-rackdc.properties'), 'dc=datacenter1\nrack=rack1\n')
      await this.#services.systemctl(host.name, ['start', 'cassandra'])
    }
    for (const { address } of this.#hosts.nodes) await until(() => isOpen(address, 9042), 'Cassandra')
    const contactPoints = this.#hosts.nodes.map(({ address }) => address)
    const client = new Client({ contactPoints, localDataCenter: 'datacenter1', socketOptions: { readTimeout: 60_000 } })
    const replication = `{'class': 'NetworkTopologyStrategy', 'datacenter1': ${contactPoints.length}}`
    await client.execute(`CREATE KEYSPACE shop WITH replication = ${replication}`)
    await client.execute('CREATE TABLE shop.orders (id text PRIMARY KEY, total text)')
    await client.shutdown()
    await this.#applications.move('password')
    this.#options.say(`an open cluster of ${contactPoints.length}, in ${this.#root}`)
  }

  /** Blocks `each node` and `other nodes` that stand together are taken node by node. */
  *turnsOf(steps: readonly Step[]): Generator<TurnOfStep> {
    let at = 0
    while (at < steps.length) {
      const step = steps[at]!
      if (step.kind === 'applications') {
        yield { step, turns: [] }
        at += 1
        continue
      }
      const { where } = step
      const isRolling = where === 'each node' || where === 'other nodes'
      let end = at + 1
      while (isRolling && end < steps.length && isAt(steps[end]!, where)) end += 1
      for (const turn of this.#hosts.turns(where))
        for (const one of steps.slice(at, end)) yield { step: one, turns: [turn] }
      at = end
    }
  }

  async take(step: Step, turns: readonly Turn[]): Promise<void> {
    if (step.kind === 'applications') {
      await this.#applications.move(step.way as Way)
      return this.#options.say(`line ${step.line}: applications come by ${step.way}`)
    }
    for (const turn of turns) {
      const text = this.#hosts.translate(step.text, turn, step.where)
      if (step.kind === 'file') this.#hosts.writeFile(step.path, text, turn.host)
      else if (step.kind === 'keys') this.#hosts.mergeKeys(step.path, text, turn.host)
      else if (step.kind === 'run') await this.#run(step, text, turn)
    }
  }

  async result(steps: number): Promise<RehearsalResult> {
    await this.#applications.close()
    const left = this.#services.running.filter((name) => !name.endsWith('-cassandra'))
    return { steps, restarts: this.#restarts, totals: this.#applications.totals, left }
  }

  async close(): Promise<void> {
    await this.#applications.close()
    this.#services.close()
    await this.#processes.close()
  }

  async #run(step: Extract<Step, { kind: 'run' }>, text: string, { host, node }: Turn): Promise<void> {
    const exported = [...text.matchAll(/^export .*$/gm)].map(([line]) => line).join('\n')
    const before = this.#exports.get(host.name) ?? ''
    const started = performance.now()
    const { code, output } = await bash(`set -e\n${before}\n${text}`, {
      cwd: join(host.root, 'home'),
      env: this.#environment(host, node),
    })
    if (exported !== '') this.#exports.set(host.name, `${before}\n${exported}`)
    if (text.includes('restart cassandra')) this.#restarts += 1
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    const failed = this.#applications.totals.reduce((sum, one) => sum + one.failed, 0)
    this.#options.say(`line ${step.line}: ${host.name}, ${seconds} s, ${failed} failed requests`)
    const shows = step.shows.map((shown) => this.#hosts.translate(shown, { host, node }, step.where))
    const missing = missingLines(output, shows)
    if (code === step.exitCode && missing.length === 0) return
    const why = missing.length > 0 ? `does not show\n${missing.join('\n')}` : `ended with ${code}`
    throw new Error(`docs/production.md:${step.line} on ${host.name} ${why}\n\n${text}\n${output.slice(-6000)}`)
  }

  #environment(host: Host, node: number): Record<string, string> {
    const flags = javaArguments(this.#node(this.#hosts.nodes[node - 1]!), this.#parts.jarsDir, '', '')
    return {
      PATH: [join(this.#root, 'bin'), shims, process.env.PATH].join(delimiter),
      HOME: join(host.root, 'home'),
      // Without the stripper of types each of the page's many commands starts in half the time.
      NODE_COMPILE_CACHE: join(this.#root, 'cache', 'node'),
      NO_COLOR: '1',
      LC_ALL: 'C.UTF-8',
      RF_HOST: host.name,
      RF_SERVICES: this.#socketPath,
      RF_CQLSH: this.#cqlsh,
      RF_JAVA: this.#parts.java,
      RF_JARS: this.#parts.jarsDir,
      RF_JAVA_FLAGS: [
        ...flags.filter((flag) => flag.startsWith('--add-')),
        '-XX:TieredStopAtLevel=1',
        '-XX:+UseSerialGC',
        `-Duser.home=${join(host.root, 'home')}`,
        `-Dlogback.configurationFile=${join(import.meta.dirname, 'nodetool-logback.xml')}`,
      ].join(' '),
      RF_JAVA_ARCHIVE: join(this.#root, 'cache', 'nodetool.jsa'),
      RF_JMX_PORT: String(this.#node(this.#hosts.nodes[node - 1]!).jmxPort),
    }
  }

  #cassandra(host: Host): Launch {
    const conf = join(host.root, 'etc/cassandra')
    const node = this.#node(host)
    mkdirSync(join(node.dataDir, 'tmp'), { recursive: true })
    return {
      command: this.#parts.java,
      args: javaArguments(node, this.#parts.jarsDir, conf, join(node.dataDir, 'log')),
    }
  }

  #node(host: Host): CassandraNode {
    const index = this.#hosts.nodes.indexOf(host) + 1
    return {
      index,
      clusterName: 'production',
      addresses: { listen: host.address, rpc: host.address, broadcastRpc: host.address },
      nativePort: 9042,
      storagePort: 7000,
      jmxPort: 17_190 + index,
      seeds: this.#hosts.nodes.map(({ address }) => address),
      dataDir: join(host.root, 'var/lib/cassandra'),
      heapMb: 700,
      access: 'open',
      auditLog: false,
      // Who is alone has nobody to wait for.
      jvmFlags:
        this.#options.nodes === 1
          ? []
          : ['-Dcassandra.skip_wait_for_gossip_to_settle=-1', '-Dcassandra.shutdown_announce_in_ms=2000'],
      features: { udf: false, mv: false, sasi: false },
      dataCenter: 'datacenter1',
      rack: 'rack1',
    }
  }

  get #socketPath(): string {
    return join(this.#root, 'services.sock')
  }
}

function isAt(step: Step, where: string): boolean {
  return step.kind !== 'applications' && step.where === where
}

function bash(
  script: string,
  where: { cwd: string; env: Record<string, string> },
): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const options = { ...where, timeout: commandTimeoutMs, maxBuffer: 16 * 1024 * 1024 }
    execFile('bash', ['-c', script], options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 255
      resolve({ code, output: `${stdout}\n${stderr}` })
    })
  })
}

async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + commandTimeoutMs
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`${what} does not come`)
    await sleep(200)
  }
}
