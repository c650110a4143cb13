/**
 * The mesh on which things rotate and are drained, and the applications that ask it: several clients a process, every other one by NGINX, the others at
 * the sidecars. Each reads its certificate for each connection.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { dataCenter, layoutOf } from '../../demo/parts/layout.ts'
import { type Mesh, startMesh } from '../../demo/parts/mesh.ts'
import { policyFileFor } from '../../demo/parts/people.ts'
import { setUpParts } from '../../demo/parts/setup.ts'
import type { Program } from '../e2e/drivers/toolchain.ts'
import { Application, type ClientOrder } from './application.ts'
import { makeTables } from './tables.ts'

export interface LoadOptions {
  /** Applications of each driver. */
  readonly clients: number
  /** Of all Python clients together. */
  readonly incrementsPerSecond: number
  readonly programs: Readonly<Record<'node' | 'python', Program>>
  readonly say: (line: string) => void
}

/** Who has a certificate, and where. */
export interface Keeping {
  /** By application: the folder with its files. */
  readonly folders: ReadonlyMap<string, string>
  /** Where NGINX has the roots of its certificate, if it is not the mesh's. */
  readonly caFile?: string
}

export interface StageOptions extends LoadOptions {
  /** Of certificates, and of the keys that sign them. */
  readonly lives: { readonly svidTtl?: string; readonly issuingTtl?: string }
  readonly keep: (mesh: Mesh, names: readonly string[], java: string) => Promise<Keeping>
}

export interface Stage extends Keeping {
  readonly mesh: Mesh
  readonly policyFile: string
  readonly names: readonly string[]
  /** Starts the applications anew, with rows of their own; they are asking when it resolves. */
  start(rows: string): Promise<Application[]>
}

const nodePerSecond = 6
/** Clients of one process. */
const inOne = 7
const startMsMax = 180_000
const settledMs = 3_000

/** Files and logs stay where `isGood` says no of what came of it, or it fails. */
export async function onStage<T>(
  options: StageOptions,
  work: (stage: Stage) => Promise<T>,
  isGood: (outcome: T) => boolean,
): Promise<T> {
  const { say, clients, lives } = options
  const stateDir = mkdtempSync(join(tmpdir(), 'ringfence-soak-'))
  const portOffset = 12_000 + (process.pid % 90)
  const policyFile = join(stateDir, 'soak.yaml')
  const own = readFileSync(join(import.meta.dirname, 'policy.yaml'), 'utf8')
  writeFileSync(policyFile, `${readFileSync(policyFileFor(layoutOf(stateDir, 3, portOffset)), 'utf8')}\n---\n${own}`)
  say(`files and logs: ${stateDir}`)
  const { java } = await setUpParts({ stateDir })
  const mesh = await startMesh({
    stateDir,
    nodes: 3,
    portOffset,
    policyFile,
    ...lives,
    gatewayWorkers: 2,
    spareGateway: true,
    people: true,
    clusterName: 'soak',
  })
  const running: Application[] = []
  try {
    await mesh.part('gateway-2').start()
    await makeTables(mesh)
    const names = Array.from({ length: clients }, (_, i) => [`node-${i + 1}`, `python-${i + 1}`]).flat()
    const kept = await options.keep(mesh, names, java)
    const start = async (rows: string): Promise<Application[]> => {
      const applications = started(mesh, kept.folders, options, rows)
      running.push(...applications)
      await untilAsking(applications, names.length)
      return applications
    }
    const outcome = await work({ ...kept, mesh, policyFile, names, start })
    await mesh.close()
    if (process.env.RINGFENCE_E2E_KEEP === undefined && isGood(outcome))
      rmSync(stateDir, { recursive: true, force: true })
    return outcome
  } finally {
    for (const application of running) application.kill()
    await mesh.close()
  }
}

function started(
  mesh: Mesh,
  folders: ReadonlyMap<string, string>,
  { clients, incrementsPerSecond, programs }: LoadOptions,
  rows: string,
): Application[] {
  const { nginx, nodes } = mesh.layout
  const orders = (driver: string, perSecond: number): ClientOrder[] =>
    Array.from({ length: clients }, (_, i): ClientOrder => {
      // Every other one by NGINX; the others begin at each of the sidecars.
      const { address: host, port } = i % 2 === 0 ? nginx : nodes[(i >> 1) % nodes.length]!.sidecar
      const name = `${driver}-${i + 1}`
      return { name, host, port, certs: folders.get(name)!, perSecond }
    })
  const more = { RF_DC: dataCenter, RF_ROWS: rows }
  const made: Application[] = []
  for (const driver of ['node', 'python'] as const) {
    const all = orders(driver, driver === 'node' ? nodePerSecond : incrementsPerSecond / clients)
    for (let from = 0; from < all.length; from += inOne)
      made.push(new Application(`${driver} ${from / inOne + 1}`, programs[driver], all.slice(from, from + inOne), more))
  }
  return made
}

async function untilAsking(applications: readonly Application[], clients: number): Promise<void> {
  const untilMs = performance.now() + startMsMax
  for (;;) {
    const ended = applications.find(({ running }) => !running)
    if (ended !== undefined) throw new Error(`${ended.name} ended: ${ended.words}`)
    const asking = applications
      .flatMap(({ said }) => Object.values(said.clients))
      .filter(({ requests }) => requests > 0)
    if (asking.length === clients) {
      // Their pools have a connection to each host then, and have said so.
      await sleep(settledMs)
      return
    }
    if (performance.now() > untilMs)
      throw new Error(
        `${asking.length} of ${clients} clients ask: ${applications.map(({ words }) => words).join('\n')}`,
      )
    await sleep(200)
  }
}

export function openedOf(applications: readonly Application[]): Map<string, number> {
  const all = applications.flatMap(({ said }) => Object.entries(said.clients))
  return new Map(all.map(([name, { opened }]) => [name, opened]))
}

export function shown(applications: readonly Application[], seconds: number): string {
  const counts = applications.flatMap(({ said }) => Object.values(said.clients))
  const sum = (of: (one: (typeof counts)[number]) => number): number =>
    counts.reduce((total, one) => total + of(one), 0)
  const [requests, failed, opened] = [sum((one) => one.requests), sum((one) => one.failed), sum((one) => one.opened)]
  return `${Math.round(seconds)} s: ${requests} requests, ${failed} failed, ${opened} connections opened`
}
