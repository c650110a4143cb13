/**
 * The mesh beside dumb pipes, in one run: CPU per request of everything between client and stub, requests per second, p50, p99, p999, and
 * the ratios between the rows, which are the result.
 *
 *     npm run bench -- [--quick] [--rounds N] [--loads 16x1,128x1-tls,driver] [--systems direct,envoy,mesh] [--against COMMIT]
 *     npm run bench -- --latte
 *     npm run bench -- --dearest [--quick] [--only TEXT]
 *     npm run bench -- --log-ins [--quick] [--only bare,sidecar,gateway,requests] [--rate 500]
 *
 * All systems are up at once and idle but for the one that is measured; rounds go through all of them in turn and the table
 * shows medians, so that what else the machine does falls on all alike. Rounds are short and many, for one program differs by a quarter from
 * one moment to the next; every few rounds begin with new processes, for it differs from start to start too.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { reportFailure } from '../demo/options.ts'
import { unpackCommit } from './against.ts'
import { makeCredentials } from './certificates.ts'
import { divide, halves, rejoin } from './cores.ts'
import { reportDearest } from './dearest/dearest.ts'
import { machineOf, writeFigures } from './figures.ts'
import { benchWithLatte } from './latte.ts'
import { largeStatement } from './load.ts'
import { runLoad } from './load-process.ts'
import type { Load } from './loads.ts'
import { reportLogIns } from './log-ins/log-ins.ts'
import { reportMemory } from './memory.ts'
import { type Options, parseOptions } from './options.ts'
import { stopAll } from './processes.ts'
import { type Ratio, ratioColumns, ratiosOf } from './ratios.ts'
import { fewPoliciesRow, limitsRow, manyPoliciesRow, meshRow, startSystems, twoWorkersRow } from './systems/all.ts'
import { envoyPair } from './systems/envoy.ts'
import { shotoverPassing, shotoverRouting } from './systems/shotover.ts'
import type { BenchContext, System } from './systems/system.ts'
import { columns, lineOf, type MeasuredRow, mediansOf, rotated, tableOf } from './table.ts'

const say = (line: string): void => console.error(line)

async function benchOnStub(options: Options): Promise<void> {
  const { rounds, loads } = options
  const all = [...loads, ...options.seldomLoads]
  const directory = mkdtempSync(join(tmpdir(), 'ringfence-bench-'))
  const context: BenchContext = {
    directory,
    credentials: await makeCredentials(join(directory, 'tls')),
    workers: options.workers,
    rowBytes: options.rowBytes,
  }
  say(`logs: ${directory}`)
  if (options.memory !== undefined) {
    await reportMemory(context, { ...options.memory, output: options.output }, say)
    return
  }
  if (options.dearest !== undefined) {
    if ((await reportDearest(context, options.dearest, say)) > 0) process.exitCode = 1
    return
  }
  const cores = options.sharedCores ? undefined : halves()
  if (options.logIns !== undefined) {
    if ((await reportLogIns(context, options.logIns, cores, say)) > 0) process.exitCode = 1
    return
  }
  const trees = options.against.map((commit) => unpackCommit(commit, directory))
  const measured: MeasuredRow[] = []
  for (let first = 1; first <= rounds; first += roundsPerStart) {
    const ownDirectory = join(directory, `round-${first}`)
    mkdirSync(ownDirectory)
    // Every start is like the first.
    if (cores !== undefined) rejoin(cores)
    const systems = await startSystems(options, trees, { ...context, directory: ownDirectory }, say)
    const hops = systems.flatMap(({ pids }) => pids)
    if (cores !== undefined) divide(hops, cores)
    await warmUp(systems, all, options)
    const last = Math.min(first + roundsPerStart - 1, rounds)
    for (let round = first; round <= last; round++) {
      measured.push(...(await measureRound(systems, round, round === first ? all : loads, options)))
      measured.push(...(await measureWorkers(systems, round, options)))
    }
    await stopAll()
    // The mesh's audit may be gigabytes by now; after a failure it and the logs stay.
    rmSync(ownDirectory, { recursive: true })
  }
  const medians = mediansOf(measured, all)
  const ratios = allRatios(measured)
  const machine = machineOf(options, cores)
  console.log(tableOf(columns, medians))
  if (ratios.length > 0) {
    console.log('\nRatios: of each round, and the median of these.\n')
    console.log(tableOf(ratioColumns, ratios))
  }
  console.log(`\n${machine}`)
  if (options.output !== undefined) writeFigures(options.output, { machine, medians, ratios, measured }, all)
  rmSync(directory, { recursive: true })
}

/** Rounds of the same processes. */
const roundsPerStart = 5
/** Of each load on each system. */
const warmupSecondsMin = 3
/** Of all loads on each system: V8 optimises what ran often, and each of two workers runs half as often. */
const warmupSecondsOfSystemMin = 10
const warmupSecondsOfSeldom = 1

/**
 * Every system under each load, for a time that does not count: a program that has just started runs code that is not compiled yet. The
 * last loads come first, for what is new to a program can make V8 throw away code that it had compiled for less.
 */
async function warmUp(systems: readonly System[], all: readonly Load[], { loads, protocol }: Options): Promise<void> {
  const ofLoad = Math.max(warmupSecondsMin, Math.ceil(warmupSecondsOfSystemMin / loads.length))
  for (const [system, load] of pairsOf(systems, all.toReversed())) {
    say(`warming up  ${load.name}  ${system.name}`)
    await measure(system, load, protocol, loads.includes(load) ? ofLoad : warmupSecondsOfSeldom)
  }
}

async function measureRound(
  systems: readonly System[],
  round: number,
  loads: readonly Load[],
  { protocol, rounds, seconds }: Options,
): Promise<MeasuredRow[]> {
  const measured: MeasuredRow[] = []
  for (const [system, load] of pairsOf(rotated(systems, round), loads)) {
    const row = { round, ...(await measure(system, load, protocol, seconds)) }
    measured.push(row)
    say(`round ${round}/${rounds}  ${lineOf(row)}`)
  }
  return measured
}

/** Further rounds of one and two workers behind each round: what is between them is less than what one round differs from the next. */
const workersRounds = 3
const workersLoad = '128x1'

/** One and two workers by themselves, if both and their load are measured at all. Their rounds are counted on behind the last. */
async function measureWorkers(systems: readonly System[], round: number, options: Options): Promise<MeasuredRow[]> {
  const both = systems.filter(({ name }) => name === meshRow || name === twoWorkersRow)
  const loads = options.loads.filter(({ key }) => key === workersLoad)
  const measured: MeasuredRow[] = []
  const before = options.rounds + (round - 1) * workersRounds
  const counted = { ...options, rounds: options.rounds * (1 + workersRounds) }
  for (let further = 1; both.length === 2 && further <= workersRounds; further++) {
    measured.push(...(await measureRound(both, before + further, loads, counted)))
  }
  return measured
}

/** Load by load, the systems one after another, but for those that do not speak TLS with clients. */
const pairsOf = (systems: readonly System[], loads: readonly Load[]): (readonly [System, Load])[] =>
  loads.flatMap((load) =>
    systems.filter(({ tlsPort }) => !load.tls || tlsPort !== undefined).map((system) => [system, load] as const),
  )

async function measure(
  system: System,
  load: Load,
  protocol: Options['protocol'],
  seconds: number,
): Promise<Omit<MeasuredRow, 'round'>> {
  const { connections, inFlight } = load
  const plan = {
    connections,
    inFlight,
    host: '127.0.0.1',
    port: load.tls && system.tlsPort !== undefined ? system.tlsPort : system.port,
    seconds,
    protocol,
    ...(load.large && { statement: largeStatement }),
    ...(load.tls && { tls: system.credentials }),
  }
  const { result, cpu, residentBytes } = await runLoad(plan, system.pids, load.maker)
  const hasHops = system.pids.length > 0
  return {
    system: system.name,
    load: load.name,
    cpuUsPerRequest: hasHops ? (cpu / result.requests) * 1e6 : undefined,
    perSecond: result.perSecond,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    p999Ms: result.p999Ms,
    residentBytes: hasHops ? residentBytes : undefined,
    errors: result.errors,
  }
}

/** The mesh to its neighbours and to itself: at other commits, with two workers to one, with a thousand policies to ten. */
function allRatios(measured: readonly MeasuredRow[]): Ratio[] {
  const names = new Set(measured.map(({ system }) => system))
  const others = [...names].filter((name) => name.startsWith(`${meshRow} at `))
  return [
    ...ratiosOf(measured, { mesh: meshRow, over: [envoyPair, shotoverRouting, shotoverPassing, ...others] }),
    ...ratiosOf(measured, { mesh: twoWorkersRow, over: [meshRow] }),
    ...ratiosOf(measured, { mesh: manyPoliciesRow, over: [fewPoliciesRow] }),
    ...ratiosOf(measured, { mesh: limitsRow, over: [meshRow] }),
  ]
}

const stopped = new AbortController()
let withLatte: Promise<void> | undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    stopped.abort()
    // The mesh of `--latte` is closed by the run that began it.
    void Promise.allSettled([stopAll(), withLatte]).then(() => process.exit(128 + constants.signals[signal]))
  })
}
try {
  const options = parseOptions(process.argv.slice(2))
  if (options.latte) withLatte = benchWithLatte(options, say, stopped.signal)
  await (withLatte ?? benchOnStub(options))
} catch (reason) {
  if (!stopped.signal.aborted) process.exitCode = reportFailure(reason)
} finally {
  await stopAll()
}
