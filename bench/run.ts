/**
 * The mesh beside dumb pipes, in one run: CPU per request of everything between client and stub, requests per second, p50, p99, p999, and
 * the ratios between the rows, which are the result.
 *
 *     npm run bench -- [--quick] [--rounds N] [--loads 16x1,128x1-tls,driver] [--systems direct,envoy,mesh] [--against COMMIT]
 *     npm run bench -- --latte
 *
 * All systems are up at once and idle but for the one that is measured; rounds go through all of them in turn and the table
 * shows medians, so that what else the machine does falls on all alike. The figures themselves belong to the machine.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { reportFailure } from '../demo/options.ts'
import { makeCredentials } from './certificates.ts'
import { machineOf, writeFigures } from './figures.ts'
import { benchWithLatte } from './latte.ts'
import { largeStatement } from './load.ts'
import { runLoad } from './load-process.ts'
import type { Load } from './loads.ts'
import { reportMemory } from './memory.ts'
import { type Options, parseOptions } from './options.ts'
import { stopAll } from './processes.ts'
import { type Ratio, ratioColumns, ratiosOf } from './ratios.ts'
import { fewPoliciesRow, manyPoliciesRow, meshRow, startSystems, twoWorkersRow } from './systems/all.ts'
import { envoyPair } from './systems/envoy.ts'
import { shotoverHop } from './systems/shotover.ts'
import type { BenchContext, System } from './systems/system.ts'
import { columns, lineOf, type MeasuredRow, mediansOf, tableOf } from './table.ts'

const say = (line: string): void => console.error(line)

async function benchOnStub(options: Options): Promise<void> {
  const { rounds, loads } = options
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
  const systems = await startSystems(options, context, say)
  const measured: MeasuredRow[] = []
  for (let round = 1; round <= rounds; round++) {
    for (const load of loads) {
      for (const system of rotated(systems, round)) {
        if (load.tls && system.tlsPort === undefined) continue
        const row = { round, ...(await measure(system, load, options)) }
        measured.push(row)
        say(`round ${round}/${rounds}  ${lineOf(row)}`)
      }
    }
  }
  const medians = mediansOf(measured, loads)
  const ratios = allRatios(measured, systems)
  const machine = machineOf(options)
  console.log(tableOf(columns, medians))
  if (ratios.length > 0) {
    console.log('\nRatios: of each round, and the median of these.\n')
    console.log(tableOf(ratioColumns, ratios))
  }
  console.log(`\n${machine}`)
  if (options.output !== undefined) writeFigures(options.output, { machine, medians, ratios, measured }, loads)
  await stopAll()
  // The mesh's audit may be gigabytes by now; after a failure it and the logs stay.
  rmSync(directory, { recursive: true })
}

/** Each round begins with another one: at fixed places, first and last, one and the same commit differed by a tenth. */
function rotated<T>(all: readonly T[], round: number): T[] {
  const first = round % all.length
  return [...all.slice(first), ...all.slice(0, first)]
}

async function measure(
  system: System,
  load: Load,
  { seconds, protocol }: Options,
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
function allRatios(measured: readonly MeasuredRow[], systems: readonly System[]): Ratio[] {
  const names = systems.map(({ name }) => name)
  const others = names.filter((name) => name.startsWith(`${meshRow} at `))
  return [
    ...ratiosOf(measured, { mesh: meshRow, over: [envoyPair, shotoverHop, ...others] }),
    ...ratiosOf(measured, { mesh: twoWorkersRow, over: [meshRow] }),
    ...ratiosOf(measured, { mesh: manyPoliciesRow, over: [fewPoliciesRow] }),
  ]
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void stopAll().then(() => process.exit(128 + constants.signals[signal])))
}
try {
  const options = parseOptions(process.argv.slice(2))
  if (options.latte) await benchWithLatte(options, say)
  else await benchOnStub(options)
} catch (reason) {
  process.exitCode = reportFailure(reason)
} finally {
  await stopAll()
}
