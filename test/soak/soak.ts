/**
 * The soak on real parts: certificates of a minute, issuing keys and roots that take turns, and applications that read their certificate for each connection.
 *
 *   28 agents ── files ──▶ Node.js, Python ──▶ NGINX, gateway ──▶ 3 sidecars ──▶ 3 nodes, whose certificates they keep
 *                                  └────────── a sidecar ────────────┘
 *
 * Counted: rotations of each kind by the control plane's own account, requests and failures by the applications', and the sums in the tables.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, types } from 'cassandra-driver'
import { dataCenter, layoutOf, spiffeIds } from '../../demo/parts/layout.ts'
import { type Mesh, startMesh } from '../../demo/parts/mesh.ts'
import { policyFileFor, siteUrl } from '../../demo/parts/people.ts'
import { setUpParts } from '../../demo/parts/setup.ts'
import type { Program } from '../e2e/drivers/toolchain.ts'
import { pemsOf } from '../e2e/people.ts'
import { Application, type ClientOrder } from './application.ts'
import { keepNginx, keepNodes, startAgents } from './certificates.ts'
import { type Summary, type Sums, summaryOf } from './summary.ts'
import { Turns } from './turns.ts'
import { WebDoor } from './web-door.ts'

export interface LoadOptions {
  /** Applications of each driver. */
  readonly clients: number
  /** Of all Python clients together. */
  readonly incrementsPerSecond: number
  readonly programs: Readonly<Record<'node' | 'python', Program>>
  readonly say: (line: string) => void
}

export interface SoakOptions extends LoadOptions {
  readonly minutes: number
  /** When a root begins to take its turn, and when an issuing key does by hand; minutes. */
  readonly roots: readonly number[]
  readonly issuing: readonly number[]
}

/** The mesh of a soak, with whoever has a certificate of it. */
export interface Stage {
  readonly mesh: Mesh
  /** Where NGINX has the roots of its certificate. */
  readonly caFile: string
  /** Starts the applications anew, with rows of their own; they are asking when it resolves. */
  start(rows: string): Promise<Application[]>
}

const svidTtl = '60s'
/** The next one signs after 5/6 of it, counted from a minute before it was made: five minutes. */
const issuingTtl = '6m'
const nodePerSecond = 6
/** Clients of one process. */
const inOne = 7
const startMsMax = 180_000
const lookEveryMs = 5_000

/** Files and logs stay where `isGood` says no of what came of it, or it fails. */
export async function onMesh<T>(
  options: LoadOptions,
  work: (stage: Stage) => Promise<T>,
  isGood: (outcome: T) => boolean,
): Promise<T> {
  const { say, clients } = options
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
    svidTtl,
    issuingTtl,
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
    await keepNodes(mesh, java)
    const folders = await startAgents(mesh, names)
    const { caFile } = await keepNginx(mesh)
    say(`${names.length} agents, cert-sync at NGINX, and three sidecars that keep their nodes' certificates`)
    const start = async (rows: string): Promise<Application[]> => {
      const applications = started(mesh, folders, options, rows)
      running.push(...applications)
      await untilAsking(applications, names.length)
      return applications
    }
    const outcome = await work({ mesh, caFile, start })
    await mesh.close()
    if (process.env.RINGFENCE_E2E_KEEP === undefined && isGood(outcome))
      rmSync(stateDir, { recursive: true, force: true })
    return outcome
  } finally {
    for (const application of running) application.kill()
    await mesh.close()
  }
}

export function soak(options: SoakOptions): Promise<Summary> {
  const work = async ({ mesh, caFile, start }: Stage): Promise<Summary> => {
    const applications = await start('')
    const web = new WebDoor(siteUrl(mesh.layout), caFile)
    web.start()
    options.say('all are asking')
    return run(mesh, applications, web, options)
  }
  return onMesh(options, work, ({ faults }) => faults.length === 0)
}

async function run(
  mesh: Mesh,
  applications: readonly Application[],
  web: WebDoor,
  { minutes, roots, issuing, say }: SoakOptions,
): Promise<Summary> {
  const { admin } = mesh
  const turns = new Turns(admin, say)
  const over = new AbortController()
  const beganMs = Date.now()
  const openedBefore = openedOf(applications)
  const at = async (minute: number, work: () => Promise<void>): Promise<void> => {
    await sleep(minute * 60_000, undefined, { signal: over.signal })
    await work()
  }
  const faults: string[] = []
  const turning = [
    ...roots.map((minute) => at(minute, () => turns.turnRoot(over.signal))),
    ...issuing.map((minute) => at(minute, () => turns.turnIssuing())),
  ].map((turn) =>
    turn.catch(
      (reason: unknown) => void (over.signal.aborted || faults.push(`a turn of an authority: ${String(reason)}`)),
    ),
  )
  const endMs = beganMs + minutes * 60_000
  for (let looks = 1; Date.now() < endMs; looks++) {
    await sleep(Math.min(lookEveryMs, endMs - Date.now()))
    await turns.look().catch((reason: unknown) => say(`the control plane: ${String(reason)}`))
    if (looks % 12 === 0) say(shown(applications, (Date.now() - beganMs) / 1_000))
    const ended = applications.find(({ running }) => !running)
    if (ended !== undefined) {
      faults.push(`${ended.name} ended: ${ended.words}`)
      break
    }
  }
  over.abort()
  await Promise.all(turning)
  const rotatedMs = Date.now()
  await Promise.all([...applications.map((application) => application.stop()), web.stop()])
  const { issuances } = await admin.issuances(10_000)
  const renewed = issuances.filter(
    ({ issuedAtMs, reason }) => reason === 'renew' && issuedAtMs >= beganMs && issuedAtMs <= rotatedMs,
  )
  return summaryOf({
    seconds: Math.round((rotatedMs - beganMs) / 1_000),
    renewed: renewed.map(({ spiffeId }) => spiffeId),
    turns: turns.counts,
    said: new Map(applications.map(({ name, said }) => [name, said])),
    openedBefore,
    web,
    sums: await sumsOf(mesh, applications),
    faults,
  })
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
    if (asking.length === clients) return
    if (performance.now() > untilMs)
      throw new Error(
        `${asking.length} of ${clients} clients ask: ${applications.map(({ words }) => words).join('\n')}`,
      )
    await sleep(200)
  }
}

function openedOf(applications: readonly Application[]): Map<string, number> {
  const all = applications.flatMap(({ said }) => Object.entries(said.clients))
  return new Map(all.map(([name, { opened }]) => [name, opened]))
}

function shown(applications: readonly Application[], seconds: number): string {
  const counts = applications.flatMap(({ said }) => Object.values(said.clients))
  const sum = (of: (one: (typeof counts)[number]) => number): number =>
    counts.reduce((total, one) => total + of(one), 0)
  const [requests, failed, opened] = [sum((one) => one.requests), sum((one) => one.failed), sum((one) => one.opened)]
  return `${Math.round(seconds)} s: ${requests} requests, ${failed} failed, ${opened} connections opened`
}

async function makeTables(mesh: Mesh): Promise<void> {
  const client = await admin(mesh)
  const replication = `{'class': 'NetworkTopologyStrategy', '${dataCenter}': 3}`
  await client.execute(`CREATE KEYSPACE soak WITH replication = ${replication}`)
  await client.execute('CREATE TABLE soak.orders (id text PRIMARY KEY, total text)')
  await client.execute('CREATE TABLE soak.counters (id text PRIMARY KEY, n counter)')
  await client.shutdown()
}

/** What the rows say, beside what the applications were told. */
export async function sumsOf(mesh: Mesh, applications: readonly Application[]): Promise<Sums> {
  const rows = applications.flatMap(({ said }) => Object.entries(said.increments ?? {}))
  const sums = { rows: rows.length, done: 0, unknown: 0, found: 0, lost: 0, doubled: 0 }
  if (rows.length === 0) return sums
  const client = await admin(mesh)
  for (const [id, [done, unknown]] of rows) {
    const read = await client.execute('SELECT n FROM soak.counters WHERE id = ?', [id], { prepare: true })
    const found = Number(read.rows[0]?.n ?? 0)
    sums.done += done
    sums.unknown += unknown
    sums.found += found
    sums.lost += Math.max(0, done - found)
    sums.doubled += Math.max(0, found - done - unknown)
  }
  await client.shutdown()
  return sums
}

async function admin(mesh: Mesh): Promise<Client> {
  const { address, port } = mesh.layout.nodes[0]!.sidecar
  // For a while only: nothing outlives the key that signed it.
  const {
    keyPem: key,
    certificatePem: cert,
    bundlePem: ca,
  } = pemsOf(await mesh.identity(spiffeIds.service('soak-admin'), 300_000))
  const client = new Client({
    contactPoints: [`${address}:${port}`],
    protocolOptions: { port },
    localDataCenter: dataCenter,
    sslOptions: { key, cert, ca: [ca], rejectUnauthorized: true },
    queryOptions: { consistency: types.consistencies.all, isIdempotent: true },
    socketOptions: { connectTimeout: 15_000, readTimeout: 60_000 },
  })
  await client.connect()
  return client
}
