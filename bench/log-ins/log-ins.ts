/**
 * Log-ins by token, so many a second, beside a neighbour who asks small questions all the while.
 *
 *     npm run bench -- --log-ins [--quick] [--only bare,sidecar,gateway,requests] [--rate 500] [--rounds N] [--seconds N]
 *
 * Each is a connection with a TLS handshake of its own and a token that nobody has seen before. Printed are what one costs the event loop and
 * its CPU, how many were in, and how long the neighbour waited with them and without; then what a transaction token costs a request.
 */
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSecureContext } from 'node:tls'
import { type Cores, divide, wordsFor } from '../cores.ts'
import { markdown } from '../dearest/table.ts'
import { processorAndCommit } from '../figures.ts'
import type { LoadResult } from '../latencies.ts'
import type { LogInsOptions } from '../options.ts'
import { policyOf } from '../policy.ts'
import { cpuSeconds, familyOf } from '../processes.ts'
import { type MeshSystem, startMesh } from '../systems/mesh.ts'
import type { BenchContext } from '../systems/system.ts'
import { median } from '../table.ts'
import { reportBehalf } from './behalf.ts'
import { Child } from './children.ts'
import { logIn } from './client.ts'
import { type Cost, costOf, type Quiet, quietOf } from './costs.ts'
import type { FloorPlan } from './floor.ts'
import { type Evidence, evidence, type MakerPlan, type MakerResult } from './maker.ts'
import type { NeighbourPlan } from './neighbour.ts'
import type { Sample } from './probe.ts'
import { BenchProvider, tokenMaker } from './provider.ts'

const loopMsMax = 0.5
const waitTimesMax = 2
/** Of the rate: what the last moments leave out. */
const heldShareMin = 0.98
/** The neighbour is served at once, whatever else the ends have to do: they may share one core. */
const makerNice = 15
const warmupSeconds = 3
/** What the roles of the mesh start with. */
const openSslSettings = join(import.meta.dirname, '..', '..', 'bin', 'openssl.cnf')

const workload = 'spiffe://bench.local/workload/load'
const names: Readonly<Record<Evidence, string>> = {
  nothing: 'TLS alone',
  certificate: 'certificate',
  RS256: 'token, RS256',
  ES256: 'token, ES256',
}
const isToken = (shown: Evidence): boolean => shown === 'RS256' || shown === 'ES256'

interface Door {
  readonly name: string
  readonly port: number
  /** Whose loops a log-in passes through, by name. */
  readonly loops: Readonly<Record<string, number>>
  readonly pids: readonly number[]
  /** It is no part of the mesh: nothing has to hold there. */
  readonly isFloor?: true
}

/** One measurement with log-ins, beside the one without in the same round. */
interface Measured {
  readonly perSecond: number
  readonly failed: number
  readonly words: string | undefined
  /** By the names of the door's loops. */
  readonly loops: Readonly<Record<string, Cost>>
  readonly cpuMs: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly waitMs: number
  readonly waitTimes: number
}

/** Resolves with the number of rows that are not within their bound. */
export async function reportLogIns(
  context: BenchContext,
  options: LogInsOptions,
  cores: Cores | undefined,
  say: (line: string) => void,
): Promise<number> {
  const provider = await BenchProvider.start()
  const probes = join(context.directory, 'probes')
  mkdirSync(probes)
  const env = {
    NODE_OPTIONS: `--import=${join(import.meta.dirname, 'probe.ts')}`,
    LOG_INS_PROBE: join(probes, 'loop'),
  }
  const mesh = await startMesh(context, {
    name: 'log-ins',
    policy: policyFor(provider),
    authentication: 'either',
    sidecarEnv: env,
    gatewayEnv: env,
  })
  const children: Child[] = []
  try {
    const worker = familyOf([mesh.gateway.pid!]).find((pid) => pid !== mesh.gateway.pid)
    if (worker === undefined) throw new Error('the gateway has no worker')
    const sidecar = mesh.sidecar.pid!
    const doors: readonly Door[] = [
      { name: 'sidecar', port: mesh.sidecarPort, loops: { sidecar }, pids: [sidecar] },
      { name: 'gateway', port: mesh.tlsPort!, loops: { gateway: worker, sidecar }, pids: mesh.pids },
    ]
    await untilKeysAreKnown(doors, mesh, provider)
    const floor = new Child('floor.ts', 0, env, [`--openssl-config=${openSslSettings}`])
    children.push(floor)
    const floorPlan: FloorPlan = { credentials: mesh.enrol('spiffe://bench.local/workload/floor') }
    const bare: Door = {
      name: 'bare',
      port: await floor.ask<number>({ plan: floorPlan }),
      loops: { bare: floor.pid },
      pids: [floor.pid],
      isFloor: true,
    }
    if (cores !== undefined) divide([...mesh.pids, floor.pid], cores)
    const rows: string[][] = []
    const isWanted = (name: string): boolean => options.only?.includes(name) ?? true
    for (const door of [bare, ...doors].filter(({ name }) => isWanted(name))) {
      const neighbour = new Child('neighbour.ts')
      const maker = new Child('maker.ts', makerNice)
      children.push(neighbour, maker)
      const plan: NeighbourPlan = { port: door.port, credentials: mesh.credentials }
      await neighbour.ask({ plan })
      rows.push(...(await atDoor({ door, mesh, provider, neighbour, maker, probes, options, say })))
      for (const child of [neighbour, maker]) child.stop()
    }
    if (rows.length > 0) console.log(`${markdown(titles, rows, 4)}\n`)
    const beyond = isWanted('requests') ? await reportBehalf(mesh, provider, options.requestRounds, say) : 0
    const all = rows.filter((row) => row.at(-1) === 'no').length + beyond
    const where = `${wordsFor(cores)}; ${processorAndCommit()}`
    console.log(
      `\n${options.rounds} × ${options.seconds} s; ${where}; ${all === 0 ? 'all are within' : `${all} not within`}`,
    )
    return all
  } finally {
    for (const child of children) child.stop()
    provider.stop()
  }
}

interface AtDoor {
  readonly door: Door
  readonly mesh: MeshSystem
  readonly provider: BenchProvider
  readonly neighbour: Child
  readonly maker: Child
  readonly probes: string
  readonly options: LogInsOptions
  readonly say: (line: string) => void
}

async function atDoor({ door, mesh, provider, neighbour, maker, probes, options, say }: AtDoor): Promise<string[][]> {
  const { rounds, seconds, perSecond } = options
  const measured = new Map<Evidence, Measured[]>(evidence.map((shown) => [shown, []]))
  const planFor = (shown: Evidence, length: number): MakerPlan => ({
    port: door.port,
    perSecond,
    seconds: length,
    shown,
    credentials: mesh.credentials,
    signer: provider.signer,
  })
  const run = async (plan: MakerPlan | undefined): Promise<Run> => {
    // Tokens are made before anything is measured.
    if (plan !== undefined) await maker.ask({ plan })
    for (const pid of Object.values(door.loops)) await samplesOf(pid, probes)
    const cpuBefore = cpuSeconds(door.pids)
    const fromMs = nowMs()
    const [waits, made] = await Promise.all([
      neighbour.ask<LoadResult>({ seconds: plan?.seconds ?? seconds }),
      plan === undefined ? undefined : maker.ask<MakerResult>('go'),
    ])
    const span = [fromMs, nowMs()] as const
    const cpuMs = (cpuSeconds(door.pids) - cpuBefore) * 1_000
    const samples: Record<string, readonly Sample[]> = {}
    for (const [name, pid] of Object.entries(door.loops)) samples[name] = await samplesOf(pid, probes)
    return { waits, made, span, cpuMs, samples }
  }
  // What has just started compiles its code yet.
  for (const shown of evidence) await run(planFor(shown, warmupSeconds))
  for (let round = 0; round < rounds; round++) {
    const without = await run(undefined)
    for (const shown of evidence) {
      const with_ = await run(planFor(shown, seconds))
      const one = compared(without, with_)
      measured.get(shown)!.push(one)
      const loops = Object.entries(one.loops).map(([name, { loopMs }]) => `${name} ${loopMs.toFixed(3)} ms`)
      say(
        `round ${round + 1}/${rounds}  ${door.name}  ${names[shown]}  ${one.perSecond.toFixed(0)}/s  ${loops.join(', ')}  neighbour × ${one.waitTimes.toFixed(2)}` +
          (one.words === undefined ? '' : `  ${one.failed} failed: ${one.words}`),
      )
    }
  }
  return evidence.map((shown) => cellsOf(door, shown, measured.get(shown)!, perSecond))
}

interface Run {
  readonly waits: LoadResult
  readonly made: MakerResult | undefined
  readonly span: readonly [number, number]
  readonly cpuMs: number
  readonly samples: Readonly<Record<string, readonly Sample[]>>
}

function compared(without: Run, { waits, made, span, cpuMs, samples }: Run): Measured {
  if (made === undefined) throw new Error('nobody logged in')
  const seconds = (span[1] - span[0]) / 1_000
  const secondsWithout = (without.span[1] - without.span[0]) / 1_000
  const share = without.waits.perSecond === 0 ? 1 : waits.perSecond / without.waits.perSecond
  const loops: Record<string, Cost> = {}
  for (const [name, own] of Object.entries(samples)) {
    const quiet: Quiet = quietOf(without.samples[name]!, ...without.span)
    loops[name] = costOf(own, span, made.doneAtMs, quiet, share)
  }
  const count = made.doneAtMs.length
  return {
    perSecond: count / waits.seconds,
    failed: made.failed + waits.errors,
    words: made.words,
    loops,
    cpuMs: (cpuMs - (without.cpuMs / secondsWithout) * share * seconds) / count,
    p50Ms: made.p50Ms,
    p99Ms: made.p99Ms,
    waitMs: waits.p99Ms,
    waitTimes: waits.p99Ms / without.waits.p99Ms,
  }
}

const titles = [
  'fresh sessions at a',
  'by',
  'of the loop, ms each',
  'CPU of its thread, ms each',
  'CPU of all, ms each',
  'in, a second',
  'failed',
  'p50 ms',
  'p99 ms',
  'neighbour’s p99 ms',
  'times that without',
  'within',
] as const

function cellsOf(door: Door, shown: Evidence, measured: readonly Measured[], perSecond: number): string[] {
  const of = (pick: (one: Measured) => number): number => median(measured.map(pick))
  const loops = Object.keys(door.loops).map((name) => ({
    name,
    ms: of((one) => one.loops[name]!.loopMs),
    cpuMs: of((one) => one.loops[name]!.cpuMs),
  }))
  const [held, waitTimes] = [of((one) => one.perSecond), of((one) => one.waitTimes)]
  const failed = measured.reduce((sum, one) => sum + one.failed, 0)
  const isWithin =
    loops.every(({ ms }) => ms <= loopMsMax) &&
    waitTimes <= waitTimesMax &&
    held >= perSecond * heldShareMin &&
    failed === 0
  return [
    door.name,
    names[shown],
    loops.map(({ name, ms }) => `${name} ${ms.toFixed(2)}`).join(', '),
    loops.map(({ name, cpuMs }) => `${name} ${cpuMs.toFixed(2)}`).join(', '),
    of((one) => one.cpuMs).toFixed(2),
    held.toFixed(0),
    String(failed),
    of((one) => one.p50Ms).toFixed(1),
    of((one) => one.p99Ms).toFixed(1),
    of((one) => one.waitMs).toFixed(1),
    waitTimes.toFixed(2),
    // The others show of what the cost is made.
    isToken(shown) && door.isFloor !== true ? (isWithin ? 'yes' : 'no') : '—',
  ]
}

const nowMs = (): number => performance.timeOrigin + performance.now()

/** Those since it was last asked. */
async function samplesOf(pid: number, probes: string): Promise<readonly Sample[]> {
  const file = join(probes, `loop.${pid}`)
  rmSync(file, { force: true })
  process.kill(pid, 'SIGUSR2')
  for (let waitedMs = 0; waitedMs < 60_000; waitedMs += 20) {
    await sleep(20)
    try {
      return JSON.parse(readFileSync(file, 'utf8')) as Sample[]
    } catch {
      // Not written yet.
    }
  }
  throw new Error(`process ${pid} does not say how long its loop was at work`)
}

/** The control plane fetches them, and the proxies are told. */
async function untilKeysAreKnown(doors: readonly Door[], mesh: MeshSystem, provider: BenchProvider): Promise<void> {
  const secureContext = createSecureContext({ ca: readFileSync(mesh.credentials.ca) })
  const make = tokenMaker(provider.signer, 'RS256')
  for (const { port, name } of doors) {
    const until = performance.now() + 60_000
    for (;;) {
      try {
        await logIn({ port, from: '127.0.0.1', secureContext }, { token: make() })
        break
      } catch (reason) {
        if (performance.now() > until) throw new Error(`no log-in at the ${name}: ${String(reason)}`)
        await sleep(250)
      }
    }
  }
}

/** As many rules as in any other row, for the neighbour and for people. */
function policyFor(provider: BenchProvider): string {
  const people = {
    apiVersion: 'ringfence.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'people' },
    spec: { subjects: [{ person: 'corp/*' }], keyspaces: ['bench'], operations: ['SELECT'] },
  }
  return [policyOf(50, workload, 'bench'), JSON.stringify(people), provider.document].join('\n---\n')
}
