/**
 * The mesh beside dumb pipes, in one run: CPU per request of everything between client and stub, requests per second, p50, p99.
 *
 *     npm run bench -- [--quick] [--client-tls] [--rounds N] [--systems direct,nginx,haproxy,envoy,mesh] [--against COMMIT]
 *
 * All systems are up at once and idle but for the one that is measured; rounds go through all of them in turn and the table
 * shows medians, so that what else the machine does falls on all alike. The ratios between rows are the result; the figures
 * themselves belong to the machine.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { unpackCommit } from './against.ts'
import { makeCredentials } from './certificates.ts'
import { findEnvoy } from './envoy-binary.ts'
import type { LoadPlan } from './load.ts'
import { runLoad } from './load-process.ts'
import { reportMemory } from './memory.ts'
import { type Bars, plotOf } from './plot.ts'
import { stopAll } from './processes.ts'
import { direct } from './systems/direct.ts'
import { envoy } from './systems/envoy.ts'
import { haproxy } from './systems/haproxy.ts'
import { mesh } from './systems/mesh.ts'
import { nginx } from './systems/nginx.ts'
import type { BenchContext, StartSystem, System } from './systems/system.ts'

const allLoads = [
  { connections: 16, inFlight: 1 },
  { connections: 128, inFlight: 1 },
  { connections: 16, inFlight: 32 },
  { connections: 1000, inFlight: 1 },
] as const

export interface Row {
  readonly system: string
  /** Connections × requests in flight on each. */
  readonly load: string
  /** Of everything between client and stub; undefined for `direct`. */
  readonly cpuUsPerRequest: number | undefined
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Of the same processes as the CPU, at the end of the load; undefined for `direct`. */
  readonly residentBytes: number | undefined
  readonly errors: number
}

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    'client-tls': { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string' },
    workers: { type: 'string', default: '1' },
    protocol: { type: 'string', default: '4' },
    'row-bytes': { type: 'string', default: '100' },
    systems: { type: 'string', default: 'direct,nginx,haproxy,envoy,mesh' },
    against: { type: 'string', multiple: true },
    profile: { type: 'string' },
    memory: { type: 'boolean', default: false },
    sessions: { type: 'string', default: '10000' },
    loads: { type: 'string', default: allLoads.map(keyOf).join(',') },
    output: { type: 'string' },
    'state-dir': { type: 'string', default: join(import.meta.dirname, '..', '.ringfence') },
  },
})
const seconds = Number(options.seconds ?? (options.quick ? 2 : 10))
const rounds = Number(options.rounds)
const loads = options.loads.split(',').map((key) => {
  const load = allLoads.find((each) => keyOf(each) === key)
  if (load === undefined) throw new Error(`no load "${key}"; there are ${allLoads.map(keyOf).join(', ')}`)
  return load
})
const say = (line: string): void => console.error(line)

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'ringfence-bench-'))
  const context: BenchContext = {
    directory,
    credentials: await makeCredentials(join(directory, 'tls')),
    clientTls: options['client-tls'],
    workers: Number(options.workers),
    rowBytes: Number(options['row-bytes']),
  }
  say(`logs: ${directory}`)
  const settleSeconds = options.quick ? 5 : 30
  const sessions = Number(options.sessions)
  if (options.memory) return await reportMemory(context, { sessions, settleSeconds, output: options.output }, say)
  const systems = await startSystems(context)
  const measured: Row[] = []
  for (let round = 1; round <= rounds; round++) {
    for (const load of loads) {
      for (const system of systems) {
        const row = await measure(system, load)
        measured.push(row)
        say(`round ${round}/${rounds}  ${lineOf(row)}`)
      }
    }
  }
  const rows = systems.flatMap((system) => loads.map((load) => medianOf(measured, system.name, nameOf(load))))
  console.log(tableOf(rows))
  console.log(`\n${machine()}`)
  const output = options.output ?? (options.quick ? undefined : join(import.meta.dirname, 'results.json'))
  if (output !== undefined) writeFigures(output, rows, measured)
  await stopAll()
  // The mesh's audit may be gigabytes by now; after a failure it and the logs stay.
  rmSync(directory, { recursive: true })
}

async function startSystems(context: BenchContext): Promise<System[]> {
  const profile = options.profile === undefined ? {} : { profileDirectory: resolve(options.profile) }
  const starters: Record<string, () => StartSystem | undefined> = {
    direct: () => direct,
    nginx: () => ifInstalled('nginx', '-v', nginx),
    haproxy: () => ifInstalled('haproxy', '-v', haproxy),
    envoy: () => {
      const found = findEnvoy(options['state-dir'], say)
      if ('binary' in found) return envoy(found.binary)
      say(`no Envoy row: ${found.missing}`)
      return undefined
    },
    mesh: () => mesh({ name: 'mesh', ...profile }),
    'mesh-10': () => mesh({ name: 'mesh, 10 policies', rulesCount: 10 }),
    'mesh-1000': () => mesh({ name: 'mesh, 1,000 policies', rulesCount: 1000 }),
  }
  const systems: System[] = []
  for (const name of options.systems.split(',')) {
    const starter = starters[name]
    if (starter === undefined) throw new Error(`no system "${name}"; there are ${Object.keys(starters).join(', ')}`)
    const startSystem = starter()
    if (startSystem !== undefined) systems.push(await startSystem(context))
  }
  for (const commit of options.against ?? []) {
    systems.push(await mesh(unpackCommit(commit, context.directory))(context))
  }
  return systems
}

function ifInstalled(program: string, question: string, system: StartSystem): StartSystem | undefined {
  if (spawnSync(program, [question]).status === 0) return system
  say(`no ${program} row: install Debian's package "${program}"`)
  return undefined
}

type Load = (typeof allLoads)[number]

/** As `--loads` names it. */
function keyOf({ connections, inFlight }: Load): string {
  return `${connections}x${inFlight}`
}

function nameOf({ connections, inFlight }: Load): string {
  return `${connections} × ${inFlight}`
}

async function measure(system: System, load: Load): Promise<Row> {
  const plan: LoadPlan = {
    ...load,
    host: '127.0.0.1',
    port: system.port,
    seconds,
    protocol: options.protocol === '5' ? 5 : 4,
    ...(options['client-tls'] && { tls: system.credentials }),
  }
  const { result, cpu, residentBytes } = await runLoad(plan, system.pids)
  return {
    system: system.name,
    load: nameOf(load),
    cpuUsPerRequest: system.pids.length === 0 ? undefined : (cpu / result.requests) * 1e6,
    perSecond: result.perSecond,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    residentBytes: system.pids.length === 0 ? undefined : residentBytes,
    errors: result.errors,
  }
}

function medianOf(measured: readonly Row[], system: string, load: string): Row {
  const rows = measured.filter((row) => row.system === system && row.load === load)
  const median = (pick: (row: Row) => number): number => {
    const sorted = rows.map(pick).sort((a, b) => a - b)
    const middle = sorted.length >> 1
    return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  }
  return {
    system,
    load,
    cpuUsPerRequest: rows[0]!.cpuUsPerRequest === undefined ? undefined : median((row) => row.cpuUsPerRequest!),
    perSecond: median((row) => row.perSecond),
    p50Ms: median((row) => row.p50Ms),
    p99Ms: median((row) => row.p99Ms),
    residentBytes: rows[0]!.residentBytes === undefined ? undefined : median((row) => row.residentBytes!),
    errors: rows.reduce((sum, row) => sum + row.errors, 0),
  }
}

const columns: readonly (readonly [title: string, cell: (row: Row) => string])[] = [
  ['load', (row) => row.load],
  ['system', (row) => row.system],
  ['CPU µs/request', (row) => row.cpuUsPerRequest?.toFixed(2) ?? '—'],
  ['requests/s', (row) => row.perSecond.toFixed(0)],
  ['p50 ms', (row) => row.p50Ms.toFixed(2)],
  ['p99 ms', (row) => row.p99Ms.toFixed(2)],
  ['memory MB', (row) => (row.residentBytes === undefined ? '—' : (row.residentBytes / 1e6).toFixed(0))],
  ['errors', (row) => String(row.errors)],
]

function lineOf(row: Row): string {
  return columns
    .map(([title, cell]) => (title === 'load' || title === 'system' ? cell(row) : `${title} ${cell(row)}`))
    .join('  ')
}

/** Markdown as the formatter leaves it, one block of rows for each load. */
function tableOf(rows: readonly Row[]): string {
  const byLoad = loads.flatMap((load) => rows.filter((row) => row.load === nameOf(load)))
  const lines = columns.map(([title, cell], index) => {
    const cells = [title, ...byLoad.map(cell)]
    const width = Math.max(...cells.map((text) => text.length))
    const pad = (text: string): string => (index < 2 ? text.padEnd(width) : text.padStart(width))
    const rule = index < 2 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`
    return [title.padEnd(width), rule, ...byLoad.map((row) => pad(cell(row)))]
  })
  return lines[0]!.map((_, line) => `| ${lines.map((column) => column[line]).join(' | ')} |`).join('\n')
}

function machine(): string {
  const of = (command: string, ...args: string[]): string => {
    const { stdout, stderr, status } = spawnSync(command, args, { encoding: 'utf8', cwd: import.meta.dirname })
    return status === 0 ? `${stdout}${stderr}`.trim() : 'unknown'
  }
  const nginxVersion = /nginx\/[\d.]+/.exec(of('nginx', '-v'))?.[0] ?? 'no nginx'
  const plan = `${rounds} × ${seconds} s, ${options['client-tls'] ? 'TLS' : 'plain'} clients, protocol v${options.protocol}`
  const haproxyVersion = /HAProxy version [\d.]+/.exec(of('haproxy', '-v'))?.[0].replace(' version', '') ?? 'no HAProxy'
  const [processor] = cpus()
  return `${plan}, rows of ${options['row-bytes']} bytes, ${options.workers} worker in each hop; ${cpus().length} cores (${processor?.model}), Node.js ${process.version}, ${nginxVersion}, ${haproxyVersion}, commit ${of('git', 'rev-parse', '--short', 'HEAD')}`
}

const plotted = ['CPU µs/request', 'requests/s', 'p99 ms', 'memory MB']

function barsOf(medians: readonly Row[]): Bars[] {
  return loads.map((load) => {
    const rows = medians.filter((row) => row.load === nameOf(load))
    const figures = columns
      .filter(([title]) => plotted.includes(title))
      .map(([title, cell]) => ({
        title,
        values: rows.map((row) => {
          const text = cell(row)
          const value = Number(text)
          return { system: row.system, value: Number.isFinite(value) ? value : undefined, text }
        }),
      }))
    return { load: nameOf(load), figures }
  })
}

/** The figures, and beside them a picture of the medians. */
function writeFigures(path: string, medians: readonly Row[], measured: readonly Row[]): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify({ machine: machine(), medians, measured }, null, 2)}\n`)
  writeFileSync(path.replace(/(\.json)?$/, '.svg'), plotOf(barsOf(medians), machine()))
}

process.once('SIGINT', () => void stopAll().then(() => process.exit(130)))
try {
  await main()
} finally {
  await stopAll()
}
