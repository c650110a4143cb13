/**
 * Real Cassandra under `latte`, which is the Rust driver: what the mesh adds to a read by key at half the load that all paths take.
 *
 *     direct                latte ──TLS──▶ Cassandra
 *     gateway, sidecar      latte ──TLS──▶ gateway ══link══▶ sidecar ──mTLS──▶ Cassandra
 *     NGINX, gateway, …     latte ──TLS──▶ NGINX ──PROXY+TLS──▶ gateway ══link══▶ sidecar ──mTLS──▶ Cassandra
 *
 * The same nodes, the same certificate and TLS on every path: for the direct one Cassandra itself knows the identity of the load.
 */
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { show, spiffeIds } from '../demo/parts/layout.ts'
import { type Mesh, startMesh } from '../demo/parts/mesh.ts'
import { RingfenceError } from '../src/base/errors.ts'
import { type Cores, coresOfEnds, divide, halves, wordsFor } from './cores.ts'
import { processorAndCommit } from './figures.ts'
import { findLatte } from './latte/binary.ts'
import { type MeasuredPath, pathColumns, readReport, summariesOf } from './latte/report.ts'
import type { Options } from './options.ts'
import { policyOf } from './policy.ts'
import { cpuSeconds, start } from './processes.ts'
import { rotated, tableOf } from './table.ts'

const workload = join(import.meta.dirname, 'latte', 'reads.rn')
const identity = spiffeIds.service('latte')
const directPath = 'direct'
const warmupSeconds = 2
const saturationSeconds = 10
/** The node is warm when, after the first minutes, twenty seconds bring hardly more than its best before, and its compilers rest; it has eight minutes. */
const warmGrowth = 1.05
const quietCores = 0.1
const aloneSeconds = 2
const warmupsMin = 12
const warmupsMax = 30
/**
 * Cassandra's own rule for its writes, here for all its pools. The 128 threads that serve clients in its default wait by turning, and on the
 * one core that a small machine gives them the direct path's own latencies then differ by more than what is measured. The Java virtual machine
 * starts before the cores are divided, so it is told how many there will be: what it would find on a host of that size.
 */
const poolThreadsPerCore = 8
/** Requests in flight when nothing limits the rate. */
const concurrency = 128

interface Latte {
  /** Runs a verb of latte to its end. Rejects with where its log is when it fails. */
  run(verb: string, address: string, args: readonly string[]): Promise<void>
  /** A run of reads; `rate` in requests a second. */
  read(address: string, seconds: number, rate?: number): Promise<ReturnType<typeof readReport>>
}

/** Prints the table. Rejects when `latte` or a part of the mesh is not to be had, and when `signal` ends it: then all has been stopped. */
export async function benchWithLatte(
  options: Options,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  // Asked before anything is started: one core is not divided.
  const cores = options.sharedCores ? undefined : halves()
  const nodeCores = coresOfEnds(options.sharedCores)
  const found = findLatte(options.stateDir, say)
  if ('missing' in found) throw new RingfenceError('UNAVAILABLE', found.missing)
  const stateDir = mkdtempSync(join(tmpdir(), 'ringfence-latte-'))
  say(`logs: ${stateDir}`)
  const policyFile = join(stateDir, 'policy.yaml')
  writeFileSync(policyFile, policyOf(50, identity, 'latte'))
  const mesh = await startMesh({
    stateDir,
    policyFile,
    nodes: options.nodes,
    // Beside other copies, below the ports that the system gives away.
    portOffset: 13_000 + (process.pid % 90),
    gatewayWorkers: options.workers,
    clusterName: 'latte',
    measuredAs: identity,
    // The second compiler too: this node is hot for as long as it lives.
    jvmFlags: ['-XX:TieredStopAtLevel=4', `-XX:ActiveProcessorCount=${nodeCores}`],
    heapMb: 1024,
    poolThreads: poolThreadsPerCore * nodeCores,
    signal,
  })
  try {
    await measurePaths(mesh, await latteAs(mesh, found.binary, options.connections, signal), options, cores, say)
  } finally {
    await mesh.close()
  }
  rmSync(stateDir, { recursive: true })
}

async function measurePaths(
  mesh: Mesh,
  latte: Latte,
  options: Options,
  cores: Cores | undefined,
  say: (line: string) => void,
): Promise<void> {
  const { nginx, gatewayDirect, nodes } = mesh.layout
  const [first] = nodes
  if (first === undefined) throw new Error('a cluster has a node')
  const direct = show(first.cql)
  const paths = new Map([
    [directPath, direct],
    ['gateway, sidecar', show(gatewayDirect)],
    ['NGINX, gateway, sidecar', show(nginx)],
  ])
  await latte.run('schema', direct, [])
  await latte.run('load', direct, ['--quiet'])
  const { rounds, seconds } = options
  const saturate = async (address: string): Promise<number> => (await latte.read(address, saturationSeconds)).perSecond
  await warmUp(pidsOf(mesh, /^cassandra/), () => saturate(direct), say)
  if (cores !== undefined) divide(pidsOf(mesh, /^(nginx|gateway|sidecar)/), cores)
  const saturated = new Map<string, number>()
  for (const [path, address] of paths) {
    // Once for what stands in this path, and once that counts.
    await saturate(address)
    const perSecond = await saturate(address)
    saturated.set(path, perSecond)
    say(`${path}: ${perSecond.toFixed(0)} reads a second at saturation`)
  }
  // One rate for all paths: half of what the slowest takes.
  const rate = options.rate ?? Math.max(1, Math.floor(Math.min(...saturated.values()) / 2))
  const measured: MeasuredPath[] = []
  for (let round = 1; round <= rounds; round++) {
    for (const [path, address] of rotated([...paths], round - 1)) {
      const before = recordedBytes(mesh)
      const figures = { path, round, ...(await latte.read(address, seconds, rate)) }
      const grownBytes = recordedBytes(mesh) - before
      // A driver goes where the tables say: each read leaves far more than a byte in the sidecars' record, or it was not there.
      if (grownBytes > figures.perSecond * seconds !== (path !== directPath)) {
        throw new Error(`the reads of "${path}" did not go that way: the record grew by ${grownBytes} bytes`)
      }
      measured.push(figures)
      const { perSecond, p50Ms, p99Ms, errors } = figures
      say(
        `round ${round}/${rounds}  ${path}  requests/s ${perSecond.toFixed(0)}  p50 ms ${p50Ms.toFixed(2)}  p99 ms ${p99Ms.toFixed(2)}  errors ${errors}`,
      )
    }
  }
  const summaries = summariesOf(measured, directPath)
  const machine = `${rounds} × ${seconds} s at ${rate} reads a second (saturation ${[...saturated.values()].map((each) => each.toFixed(0)).join(', ')}), ${nodes.length} Cassandra ${nodes.length === 1 ? 'node' : 'nodes'}, ${wordsFor(cores)}; ${processorAndCommit()}`
  console.log(tableOf(pathColumns, summaries, 1))
  console.log(`\nAdded: to the direct path in the same round, and the median of these.\n${machine}`)
  if (options.output === undefined) return
  mkdirSync(dirname(options.output), { recursive: true })
  writeFileSync(
    options.output,
    `${JSON.stringify({ machine, rate, saturated: Object.fromEntries(saturated), summaries, measured }, null, 2)}\n`,
  )
}

/** Of the parts with such names. The control plane is no hop: it does not stand between, nor does it work then. */
function pidsOf(mesh: Mesh, names: RegExp): number[] {
  return [...mesh.parts.values()].filter(({ name }) => names.test(name)).flatMap(({ pid }) => pid ?? [])
}

/**
 * A Java virtual machine that has just started runs slowly, and its compilers take the cores: after the load too, while methods wait for
 * them. Warm is what brings hardly more than its best before and, left alone, is quiet.
 */
async function warmUp(
  nodes: readonly number[],
  readsPerSecond: () => Promise<number>,
  say: (line: string) => void,
): Promise<void> {
  let best = 0
  for (let done = 1, sinceGrowth = 0; done <= warmupsMax; done++) {
    const now = await readsPerSecond()
    const alone = await coresWhenAlone(nodes)
    say(
      `warming up: ${now.toFixed(0)} reads a second; left alone, a node takes ${(alone * 100).toFixed(0)} % of a core`,
    )
    sinceGrowth = now < best * warmGrowth ? sinceGrowth + 1 : 0
    if (done >= warmupsMin && sinceGrowth >= 2 && alone < quietCores) return
    best = Math.max(best, now)
  }
  say('the node is measured although it is not warm yet')
}

/** Cores that each of the processes is busy on while there is nothing to do, on average. */
async function coresWhenAlone(pids: readonly number[]): Promise<number> {
  const before = cpuSeconds(pids)
  await sleep(aloneSeconds * 1000)
  return (cpuSeconds(pids) - before) / aloneSeconds / pids.length
}

/** What the sidecars have recorded so far. */
function recordedBytes(mesh: Mesh): number {
  let bytes = 0
  for (const { index } of mesh.layout.nodes) {
    const directory = mesh.sidecarAuditDir(index)
    for (const file of readdirSync(directory)) bytes += statSync(join(directory, file)).size
  }
  return bytes
}

async function latteAs(mesh: Mesh, binary: string, connections: number, signal: AbortSignal): Promise<Latte> {
  const { certFile, keyFile } = await mesh.identity(identity)
  const logs = join(mesh.layout.stateDir, 'log')
  const log = join(logs, 'latte.log')
  const report = join(mesh.layout.stateDir, 'latte-report.json')
  // latte shows the first certificate of a file only, and OpenSSL completes the chain from what stands here.
  const chainFile = join(mesh.layout.stateDir, 'latte-chain.pem')
  const [, ...issuers] = readFileSync(certFile, 'utf8').split(/(?=-----BEGIN CERTIFICATE-----)/)
  writeFileSync(chainFile, issuers.join(''))
  const tls = ['--ssl', '--ssl-ca', chainFile, '--ssl-cert', certFile, '--ssl-key', keyFile]
  const replicas = `replicas=${Math.min(3, mesh.layout.nodes.length)}`
  const run: Latte['run'] = async (verb, address, args) => {
    signal.throwIfAborted()
    const common = ['--consistency', 'LOCAL_ONE', '--connections', String(connections), '-P', replicas, ...tls]
    // Without a folder for them its own logs would lie wherever the bench was started.
    const env = { LATTE_LOG_DIR: logs }
    const child = start(log, binary, [verb, ...args, ...common, workload, address], env)
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code !== 0) throw new Error(`latte ${verb} at ${address} ended with code ${code}; see ${log}`)
  }
  return {
    run,
    read: async (address, seconds, rate) => {
      const limit = rate === undefined ? [] : ['--rate', String(rate)]
      const times = ['--warmup', `${warmupSeconds}s`, '--duration', `${seconds}s`]
      const parallel = ['--concurrency', String(concurrency)]
      await run('run', address, [...times, ...parallel, ...limit, '--quiet', '--output', report])
      return readReport(readFileSync(report, 'utf8'))
    },
  }
}
