/**
 * Long statements are read on a thread of their own, so that one client's megabyte of CQL never holds up the others (attack A11).
 * The thread runs the same `analyse`; facts and refusals come back as plain data.
 *
 *   session ─ texts ─▶ Analyst ─▶ analyst-thread.ts ─ facts ─▶ session
 *
 * One thread, one request at a time in it, a bounded number waiting: a flood of long statements is shed, not queued.
 */
import { Worker } from 'node:worker_threads'
import { contained, type Owner } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'

/** Texts of one request that are shorter in sum are read where they arrive: that is quicker than the way to the thread. */
export const inlineTextMax = 8 * 1024

export type Analysed =
  | { readonly facts: StatementFacts }
  | { readonly code: 'SYNTAX' | 'INVALID'; readonly message: string }
/** What the other thread said of the texts of a request. */
export type KnownTexts = ReadonlyMap<string, Analysed> | undefined
export interface AnalyseOrder {
  readonly id: number
  readonly texts: readonly string[]
}
export interface AnalyseAnswer {
  readonly id: number
  readonly analysed: readonly Analysed[]
}

interface Waiting {
  readonly resolve: (analysed: readonly Analysed[]) => void
  readonly reject: (reason: RingfenceError) => void
}

export class Analyst implements Owner {
  #worker: Worker | undefined
  readonly #waiting = new Map<number, Waiting>()
  #next = 0
  #stopped = false

  /** Once there is a client, so that the thread is there before the first long statement comes. Nothing when it runs already. */
  start(): void {
    if (this.#worker !== undefined || this.#stopped) return
    const worker = new Worker(new URL('./analyst-thread.ts', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 16 },
    })
    worker.unref()
    const onMessage = contained(this, 'an answer of the thread that reads', (answer: AnalyseAnswer) => {
      const waiting = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      waiting?.resolve(answer.analysed)
    })
    worker.on('message', onMessage)
    worker.on('error', () => {})
    worker.on(
      'exit',
      contained(this, 'the end of the thread that reads', () => this.#lost(worker)),
    )
    this.#worker = worker
  }

  /** Facts of each text, in order. Rejects with `OVERLOADED` when too many wait, or when the thread died over one of them. */
  analyse(texts: readonly string[]): Promise<readonly Analysed[]> {
    const worker = this.#worker
    if (worker === undefined || this.#waiting.size >= limits.longStatementsWaitingMax) {
      return Promise.reject(new RingfenceError('OVERLOADED', 'longStatementsWaitingMax reached'))
    }
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      worker.postMessage({ id, texts } satisfies AnalyseOrder)
    })
  }

  /** The thread ends, and with it what waits; another one is started. */
  onFault(): void {
    void this.#worker?.terminate()
  }

  stop(): void {
    this.#stopped = true
    void this.#worker?.terminate()
  }

  #lost(worker: Worker): void {
    if (worker !== this.#worker) return
    this.#worker = undefined
    for (const { reject } of this.#waiting.values()) {
      reject(new RingfenceError('OVERLOADED', 'the statement could not be read'))
    }
    this.#waiting.clear()
    this.start()
  }
}
