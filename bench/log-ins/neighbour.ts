/**
 * The neighbour: some connections that stay, each of which asks a small question every few milliseconds, whether others log in or not. Asked
 * for seconds it says how long answers took in them.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Opcode } from '../../src/cql/protocol.ts'
import type { Credentials } from '../certificates.ts'
import { DearestClient, query } from '../dearest/client.ts'
import { Latencies, type LoadResult, resultOf } from '../latencies.ts'
import { serveQuestions } from './children.ts'

export interface NeighbourPlan {
  readonly port: number
  readonly credentials: Credentials
}

const connectionsCount = 8
const everyMs = 5
const small = [query("SELECT v FROM bench.rows WHERE k = 'small'")]

let latencies: Latencies | undefined
let errors = 0

async function asks(client: DearestClient, at: number): Promise<never> {
  // Not all in the same moment.
  let dueMs = performance.now() + (at * everyMs) / connectionsCount
  for (;;) {
    await sleep(Math.max(0, dueMs - performance.now()))
    const asked = performance.now()
    const [opcode] = await client.ask(small)
    const answered = performance.now()
    if (opcode === Opcode.RESULT) latencies?.add(answered - asked)
    else errors++
    // What a slow answer left out is not made up for at once: others are to wait for nobody's burst but the log-ins'.
    dueMs = Math.max(dueMs + everyMs, answered)
  }
}

serveQuestions(async (question) => {
  if (typeof question === 'object' && question !== null && 'plan' in question) {
    const { port, credentials } = question.plan as NeighbourPlan
    for (let at = 0; at < connectionsCount; at++) {
      const client = await DearestClient.open(port, credentials)
      asks(client, at).catch((reason: unknown) => {
        console.error(`the neighbour: ${String(reason)}`)
        process.exit(1)
      })
    }
    return 'ready'
  }
  const { seconds } = question as { seconds: number }
  latencies = new Latencies()
  errors = 0
  const began = performance.now()
  await sleep(seconds * 1_000)
  const result: LoadResult = resultOf(latencies, (performance.now() - began) / 1_000, errors)
  latencies = undefined
  return result
})
