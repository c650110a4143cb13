/**
 * Makes fresh sessions at a rate, whatever becomes of them. Asked with a plan it makes the tokens, which takes longer than to use them; asked
 * `go` it uses them, each once, and says what came of it.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSecureContext } from 'node:tls'
import type { Credentials } from '../certificates.ts'
import { Latencies } from '../latencies.ts'
import { serveQuestions } from './children.ts'
import { logIn, type Shown } from './client.ts'
import { type Algorithm, type Signer, tokenMaker } from './provider.ts'

export const evidence = ['nothing', 'certificate', 'RS256', 'ES256'] as const satisfies readonly (
  | 'nothing'
  | 'certificate'
  | Algorithm
)[]
export type Evidence = (typeof evidence)[number]

export interface MakerPlan {
  readonly port: number
  readonly perSecond: number
  readonly seconds: number
  readonly shown: Evidence
  readonly credentials: Credentials
  readonly signer: Signer
}

export interface MakerResult {
  /** When each was in, in milliseconds since 1970, ascending. */
  readonly doneAtMs: readonly number[]
  readonly failed: number
  /** Of the first that failed. */
  readonly words: string | undefined
  readonly p50Ms: number
  readonly p99Ms: number
}

const tickMs = 5
/** Under way at once; those that are due beyond it have failed. */
const openMax = 1_000
/** One address may have `handshakesPerAddressMax`, and its ports for a minute. */
const addressesCount = 16

let plan: MakerPlan | undefined
let shown: readonly Shown[] = []

async function run({ port, perSecond, seconds, credentials, shown: kind }: MakerPlan): Promise<MakerResult> {
  const ca = readFileSync(credentials.ca)
  const own = { cert: readFileSync(credentials.cert), key: readFileSync(credentials.key) }
  const secureContext = createSecureContext({ ca, ...(kind === 'certificate' ? own : {}) })
  const latencies = new Latencies()
  const doneAtMs: number[] = []
  const failures: string[] = []
  let [open, due] = [0, 0]
  const begin = async (one: Shown): Promise<void> => {
    if (open >= openMax) return void failures.push(`${openMax} were under way`)
    open++
    const began = performance.now()
    try {
      await logIn({ port, secureContext, from: `127.0.0.${2 + (due % addressesCount)}` }, one)
      const now = performance.now()
      latencies.add(now - began)
      doneAtMs.push(performance.timeOrigin + now)
    } catch (reason) {
      failures.push(reason instanceof Error ? reason.message : String(reason))
    } finally {
      open--
    }
  }
  const began = performance.now()
  for (let elapsedMs = 0; elapsedMs < seconds * 1_000; elapsedMs = performance.now() - began) {
    for (; due < Math.min(shown.length, (perSecond * elapsedMs) / 1_000); due++) void begin(shown[due]!)
    await sleep(tickMs)
  }
  // Each ends by itself, by its own time-out at the latest.
  while (open > 0) await sleep(tickMs)
  const [words] = failures
  return {
    doneAtMs,
    failed: failures.length,
    words,
    p50Ms: latencies.quantileMs(0.5),
    p99Ms: latencies.quantileMs(0.99),
  }
}

serveQuestions(async (question) => {
  if (question !== 'go') {
    plan = (question as { plan: MakerPlan }).plan
    const { shown: kind, perSecond, seconds, signer } = plan
    const make: () => Shown = kind === 'nothing' || kind === 'certificate' ? () => kind : tokens(signer, kind)
    shown = Array.from({ length: perSecond * seconds }, make)
    return 'ready'
  }
  if (plan === undefined) throw new Error('there is no plan')
  return await run(plan)
})

function tokens(signer: Signer, algorithm: Algorithm): () => Shown {
  const make = tokenMaker(signer, algorithm)
  return () => ({ token: make() })
}
