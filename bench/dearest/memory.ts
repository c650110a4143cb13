/**
 * Memory: one identity does all it can to make a sidecar keep bytes, another asks small questions all the while. Printed are the most that the
 * sidecar's process took, what it took before, and how the neighbour fared.
 *
 * The sidecar has a heap of 256 MB, so that an identity may hold 29 MiB (docs/limits.md). Buffers pass through TLS, which copies them.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { budgetBounds } from '../../src/base/bytes-budget.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import type { Credentials } from '../certificates.ts'
import { largeAnswerTable } from '../phrases.ts'
import { type MeshSystem, startMesh } from '../systems/mesh.ts'
import type { BenchContext } from '../systems/system.ts'
import { DearestClient, prepare, query } from './client.ts'
import { dearestPolicy, neighbour, subjectOf } from './policy.ts'
import { markdown } from './table.ts'

const MiB = 1024 * 1024
/** V8's own count for `--max-old-space-size=256`. */
const heapLimitBytes = 352 * MiB
const bounds = budgetBounds(Math.floor(heapLimitBytes / 3))
/** What waits, twice on its way through TLS, and what the heap may grow by while it collects. */
const moreBytesMax = 3 * bounds.identityBytesMax + heapLimitBytes / 3
/** Shorter than it takes a sidecar to give its node up for away. */
const HOLD_MS = 5_000
const OPEN_MS_MAX = 30_000

interface Kind {
  readonly name: string
  readonly nodeStopped: boolean
  /** What the greedy identity sends; `open` gives it one more connection. */
  readonly send: (open: () => Promise<DearestClient>) => Promise<void>
}

const insert = (stream: number, bytes: number): Buffer =>
  queryEnvelope(4, stream, 'INSERT INTO bench.rows (k, v) VALUES (1, ?)', { values: [Buffer.alloc(bytes, 'x')] })

/** Nobody waits for the answers. */
function tell(client: DearestClient, requests: readonly Buffer[]): void {
  client.ask(requests).catch(() => {})
}

async function each(
  count: number,
  open: () => Promise<DearestClient>,
  act: (client: DearestClient) => void,
): Promise<void> {
  for (let i = 0; i < count; i++) act(await open())
}

const kinds: readonly Kind[] = [
  {
    name: '4 × 4 INSERTs of 14 MiB to a stopped node',
    nodeStopped: true,
    send: (open) =>
      each(4, open, (client) =>
        tell(
          client,
          Array.from({ length: 4 }, (_, i) => insert(i, 14 * MiB)),
        ),
      ),
  },
  {
    name: '4 × 4 INSERTs of 14 MiB behind a USE',
    nodeStopped: true,
    send: (open) =>
      each(4, open, (client) => {
        tell(client, [query('USE bench', 99), ...Array.from({ length: 4 }, (_, i) => insert(i, 14 * MiB))])
      }),
  },
  {
    name: '20 × 200 INSERTs of 60 KB to a stopped node',
    nodeStopped: true,
    send: (open) =>
      each(20, open, (client) =>
        tell(
          client,
          Array.from({ length: 200 }, (_, i) => insert(i, 60_000)),
        ),
      ),
  },
  {
    name: '100 messages of 16 MiB of which half came',
    nodeStopped: false,
    send: (open) => each(100, open, (client) => tell(client, [insert(1, 15 * MiB).subarray(0, 8 * MiB)])),
  },
  {
    name: '500 PREPAREs of 900 KB',
    nodeStopped: false,
    send: async (open) => {
      const client = await open()
      for (let i = 0; i < 500; i++) {
        await client.ask([prepare(`SELECT v FROM bench.rows WHERE k = '${i}' /*${'x'.repeat(900_000)}*/`)])
      }
    },
  },
  {
    name: '12 answers of 100 MB at once',
    nodeStopped: false,
    send: (open) => each(12, open, (client) => tell(client, [query(`SELECT v FROM bench.${largeAnswerTable}`)])),
  },
  {
    name: '12 times 4 answers of 100 MB, not read',
    nodeStopped: false,
    send: (open) =>
      each(12, open, (client) => {
        client.pause()
        tell(
          client,
          Array.from({ length: 4 }, (_, i) => query(`SELECT v FROM bench.${largeAnswerTable}`, i)),
        )
      }),
  },
]

export async function reportDearestMemory(context: BenchContext, say: (line: string) => void): Promise<void> {
  const before = new Set(stubs())
  const mesh = await startMesh(context, {
    name: 'dearest memory',
    policy: dearestPolicy(),
    sidecarEnv: { NODE_OPTIONS: '--max-old-space-size=256' },
  })
  const [stub] = stubs().filter((pid) => !before.has(pid))
  if (stub === undefined) throw new Error('the stub of the measurement is not there')
  const [greedy, other] = [mesh.enrol(subjectOf('permitted')), mesh.enrol(neighbour)]
  const rows: string[][] = []
  for (const kind of kinds) {
    const row = await measure(mesh, stub, kind, greedy, other)
    rows.push(row)
    say(row.join('  '))
  }
  console.log(markdown(titles, rows))
}

const titles = [
  'one identity sends',
  'sidecar',
  'neighbour',
  'before, MiB',
  'most, MiB',
  'bound, MiB',
  'within',
] as const

async function measure(
  mesh: MeshSystem,
  stub: number,
  kind: Kind,
  greedy: Credentials,
  other: Credentials,
): Promise<string[]> {
  const pid = mesh.sidecar.pid!
  const clients: DearestClient[] = []
  const open = async (): Promise<DearestClient> => {
    const client = await opened(mesh, greedy)
    clients.push(client)
    return client
  }
  const watching = await opened(mesh, other)
  const small = [query("SELECT v FROM bench.rows WHERE k = 'small'")]
  await watching.ask(small)
  const ready = kind.nodeStopped ? await Promise.all(Array.from({ length: 20 }, open)) : []
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
  const beforeBytes = highestBytes(pid)
  if (kind.nodeStopped) process.kill(stub, 'SIGSTOP')
  let next = 0
  await kind.send(async () => ready[next++] ?? (await open()))
  let answered = !kind.nodeStopped
  const asked = watching.ask(small).then(
    () => true,
    () => false,
  )
  if (!kind.nodeStopped) answered = await within(asked, 5_000)
  await sleep(HOLD_MS)
  if (kind.nodeStopped) {
    process.kill(stub, 'SIGCONT')
    answered = await within(asked, 5_000)
  }
  const alive = mesh.sidecar.exitCode === null && mesh.sidecar.signalCode === null
  const mostBytes = alive ? highestBytes(pid) : 0
  for (const client of [...clients, watching]) client.close()
  await sleep(2_000)
  const bound = beforeBytes + moreBytesMax
  const inMiB = (bytes: number): string => (bytes / MiB).toFixed(0)
  return [
    kind.name,
    alive ? 'lives' : 'died',
    answered ? 'served' : 'not served',
    inMiB(beforeBytes),
    inMiB(mostBytes),
    inMiB(bound),
    alive && mostBytes <= bound ? 'yes' : 'no',
  ]
}

/** Just after a node was stopped for long its sidecar lets nobody in. */
async function opened(mesh: MeshSystem, credentials: Credentials): Promise<DearestClient> {
  const until = performance.now() + OPEN_MS_MAX
  for (;;) {
    try {
      return await DearestClient.open(mesh.sidecarPort, credentials)
    } catch (reason) {
      if (performance.now() > until) throw reason
      await sleep(200)
    }
  }
}

function within(what: Promise<boolean>, ms: number): Promise<boolean> {
  return Promise.race([what, sleep(ms).then(() => false)])
}

/** The most that the process had in memory since that was last cleared. */
function highestBytes(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
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
