/**
 * Memory: one identity does all it can to make a proxy keep bytes, another asks small questions all the while. Printed are the most that the
 * sidecar's process took, and the gateway's where they came by it, what each took before, and how long the neighbour waited.
 *
 * Both have a heap of 256 MB, so that an identity may hold 29 MiB in each (docs/limits.md). Buffers pass through TLS, which copies them.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { budgetBounds } from '../../src/base/bytes-budget.ts'
import type { Credentials } from '../certificates.ts'
import { largeAnswerTable, oversizedAnswerTable } from '../phrases.ts'
import { familyOf } from '../processes.ts'
import { type MeshSystem, startMesh } from '../systems/mesh.ts'
import type { BenchContext } from '../systems/system.ts'
import { DearestClient, query } from './client.ts'
import { type Kind, kinds, MiB } from './memory-kinds.ts'
import { type DearestPlan, wants } from './plan.ts'
import { dearestPolicy, neighbour, subjectOf } from './policy.ts'
import { markdown } from './table.ts'

/** V8's own count for `--max-old-space-size=256`. */
const heapLimitBytes = 352 * MiB
const bounds = budgetBounds(Math.floor(heapLimitBytes / 3))
/** What waits, twice on its way through TLS, and what the heap may grow by while it collects. */
const moreBytesMax = 3 * bounds.identityBytesMax + heapLimitBytes / 3
const neighbourMsMax = 5_000
const openMsMax = 30_000
/** What the kernel has for a slow reader is read in a moment. */
const readMs = 2_000

/** Which way the clients come in, and the processes that they could fill. */
interface Door {
  readonly name: string
  readonly port: number
  readonly pids: readonly number[]
}

interface Identities {
  readonly greedy: Credentials
  readonly other: Credentials
}

export async function reportDearestMemory(
  context: BenchContext,
  plan: DearestPlan,
  say: (line: string) => void,
): Promise<number> {
  const rowsOf = (door: string): Kind[] => kinds.filter(({ name }) => wants(plan, `${name}, ${door}`))
  if (rowsOf('sidecar').length + rowsOf('gateway').length === 0) return 0
  const before = new Set(stubs())
  const env = { NODE_OPTIONS: '--max-old-space-size=256' }
  const mesh = await startMesh(context, {
    name: 'dearest memory',
    policy: dearestPolicy(),
    sidecarEnv: env,
    gatewayEnv: env,
  })
  const [stub] = stubs().filter((pid) => !before.has(pid))
  if (stub === undefined) throw new Error('the stub of the measurement is not there')
  const identities = { greedy: mesh.enrol(subjectOf('permitted')), other: mesh.enrol(neighbour) }
  const sidecar = mesh.sidecar.pid!
  const worker = familyOf([mesh.gateway.pid!]).find((pid) => pid !== mesh.gateway.pid)
  if (worker === undefined) throw new Error('the gateway has no worker')
  const doors: readonly Door[] = [
    { name: 'sidecar', port: mesh.sidecarPort, pids: [sidecar] },
    { name: 'gateway', port: mesh.tlsPort!, pids: [sidecar, worker] },
  ]
  await makeAnswers(doors[0]!, identities.greedy)
  const rows: string[][] = []
  for (const door of doors) {
    for (const kind of rowsOf(door.name)) {
      const clients: DearestClient[] = []
      const measured = measure(mesh, stub, kind, door, identities, clients)
      const row = await measured.catch((reason: unknown) => failed(kind, door, reason))
      for (const client of clients) client.close()
      await sleep(2_000)
      rows.push(row)
      say(row.join('  '))
    }
  }
  console.log(markdown(titles, rows))
  return rows.filter((row) => row.at(-1) === 'no').length
}

/**
 * The stub makes its large answers when they are first asked for, and says nothing to anybody meanwhile. A node has its rows at hand, and answers
 * others while it reads them.
 */
async function makeAnswers(door: Door, credentials: Credentials): Promise<void> {
  const client = await opened(door, credentials)
  for (const table of [largeAnswerTable, oversizedAnswerTable])
    await client.ask([query(`SELECT v FROM bench.${table}`)])
  client.close()
  // So long the connections on which they came are left to whoever asked.
  await sleep(3_000)
}

const titles = [
  'one identity sends',
  'to a',
  'of its connections',
  'neighbour waits, ms',
  'sidecar, MiB',
  'gateway, MiB',
  'bound, MiB more',
  'within',
] as const

async function measure(
  mesh: MeshSystem,
  stub: number,
  kind: Kind,
  door: Door,
  { greedy, other }: Identities,
  clients: DearestClient[],
): Promise<string[]> {
  const open = async (): Promise<DearestClient> => {
    const client = await opened(door, greedy)
    clients.push(client)
    return client
  }
  const watching = await opened(door, other)
  clients.push(watching)
  const small = [query("SELECT v FROM bench.rows WHERE k = 'small'")]
  await watching.ask(small)
  const ready = kind.nodeStopped ? await Promise.all(Array.from({ length: 20 }, open)) : []
  for (const pid of door.pids) writeFileSync(`/proc/${pid}/clear_refs`, '5')
  const beforeBytes = door.pids.map(highestBytes)
  if (kind.nodeStopped) process.kill(stub, 'SIGSTOP')
  let next = 0
  let waited: number | undefined
  const ask = async (): Promise<void> => {
    const asked = performance.now()
    const answered = watching.ask(small).then(
      () => true,
      () => false,
    )
    if (kind.nodeStopped) {
      await sleep(kind.holdMs)
      process.kill(stub, 'SIGCONT')
    }
    const began = kind.nodeStopped ? performance.now() : asked
    if (await within(answered, neighbourMsMax)) waited = performance.now() - began
  }
  try {
    await kind.send(async () => ready[next++] ?? (await open()))
    await ask()
  } finally {
    if (kind.nodeStopped) process.kill(stub, 'SIGCONT')
  }
  if (!kind.nodeStopped) await sleep(kind.holdMs)
  const alive = [mesh.sidecar, mesh.gateway].every((child) => child.exitCode === null && child.signalCode === null)
  const mostBytes = door.pids.map(highestBytes)
  const greedyClients = clients.filter((client) => client !== watching)
  const used = greedyClients.slice(0, kind.nodeStopped ? next : undefined)
  if (kind.readsSlowly === true) {
    for (const client of used) client.readAtOnce()
    await sleep(readMs)
  }
  const closed = used.filter((client) => client.closed).length
  const inMiB = (bytes: number): string => (bytes / MiB).toFixed(0)
  const cells = door.pids.map((_, i) => `${inMiB(beforeBytes[i]!)} to ${inMiB(mostBytes[i]!)}`)
  const isWithin = mostBytes.every((most, i) => most > 0 && most - beforeBytes[i]! <= moreBytesMax)
  return [
    kind.name,
    door.name,
    closed === 0 ? 'none closed' : `${closed} of ${used.length} closed`,
    waited === undefined ? 'not served' : waited.toFixed(0),
    cells[0]!,
    cells[1] ?? '',
    inMiB(moreBytesMax),
    alive && isWithin && waited !== undefined ? 'yes' : 'no',
  ]
}

/** A row that could not be measured is beyond its bound, and the others are measured all the same. */
function failed({ name }: Kind, door: Door, reason: unknown): string[] {
  return [name, door.name, String(reason), 'not served', '', '', '', 'no']
}

/** Just after a node was stopped for long its sidecar lets nobody in. */
async function opened(door: Door, credentials: Credentials): Promise<DearestClient> {
  const until = performance.now() + openMsMax
  for (;;) {
    try {
      return await DearestClient.open(door.port, credentials)
    } catch (reason) {
      if (performance.now() > until) throw reason
      await sleep(200)
    }
  }
}

function within(what: Promise<boolean>, ms: number): Promise<boolean> {
  return Promise.race([what, sleep(ms).then(() => false)])
}

/** The most that the process had in memory since that was last cleared; 0 where it has ended. */
function highestBytes(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}

/** Nodes that are no real ones, children of this process. */
function stubs(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      if (!Number.isInteger(pid)) return false
      try {
        const parent = /PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
        return Number(parent) === process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('stub.ts')
      } catch {
        return false
      }
    })
}
