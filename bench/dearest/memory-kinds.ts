/** What one identity can do to make a proxy keep bytes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { largeAnswerTable, oversizedAnswerTable } from '../phrases.ts'
import { type DearestClient, prepare, query } from './client.ts'

export const MiB: number = 1024 * 1024

export interface Kind {
  readonly name: string
  readonly nodeStopped: boolean
  /** Of what was sent nothing is read for so long; shorter than it takes a sidecar to give its node up for away. */
  readonly holdMs: number
  /** Its clients do not see that they were closed before they have read what was sent to them. */
  readonly readsSlowly?: true
  /** What the greedy identity sends; `open` gives it one more connection. */
  readonly send: (open: () => Promise<DearestClient>) => Promise<void>
}

const holdMs = 5_000

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

export const kinds: readonly Kind[] = [
  {
    name: '4 × 4 INSERTs of 14 MiB to a stopped node',
    nodeStopped: true,
    holdMs,
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
    holdMs,
    send: (open) =>
      each(4, open, (client) => {
        tell(client, [query('USE bench', 99), ...Array.from({ length: 4 }, (_, i) => insert(i, 14 * MiB))])
      }),
  },
  {
    name: '20 × 200 INSERTs of 60 KB to a stopped node',
    nodeStopped: true,
    holdMs,
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
    holdMs,
    send: (open) => each(100, open, (client) => tell(client, [insert(1, 15 * MiB).subarray(0, 8 * MiB)])),
  },
  {
    name: '500 PREPAREs of 900 KB',
    nodeStopped: false,
    holdMs,
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
    holdMs,
    send: (open) => each(12, open, (client) => tell(client, [query(`SELECT v FROM bench.${largeAnswerTable}`)])),
  },
  {
    name: '12 times 2 answers of 100 MB, not read',
    nodeStopped: false,
    holdMs,
    send: (open) =>
      each(12, open, (client) => {
        client.pause()
        tell(
          client,
          Array.from({ length: 2 }, (_, i) => query(`SELECT v FROM bench.${largeAnswerTable}`, i)),
        )
      }),
  },
  {
    name: '12 answers of 100 MB, read at 64 KB/s for 45 s',
    nodeStopped: false,
    holdMs: 45_000,
    readsSlowly: true,
    send: (open) =>
      each(12, open, (client) => {
        client.readSlowly(64_000)
        tell(client, [query(`SELECT v FROM bench.${largeAnswerTable}`)])
      }),
  },
  {
    name: '4 answers of 290 MB, more than answerBytesMax',
    nodeStopped: false,
    holdMs,
    send: async (open) => {
      const clients = await Promise.all(Array.from({ length: 4 }, open))
      for (const client of clients) tell(client, [query(`SELECT v FROM bench.${oversizedAnswerTable}`)])
      // They come one after the other.
      await sleep(holdMs)
    },
  },
]
