/**
 * Long statements are read on a thread of their own, so that one client's megabyte of CQL never holds up the others (attack A11).
 * The thread runs the same `analyse`; facts and refusals come back as plain data.
 *
 *   session ─ texts ─▶ Analyst ─▶ analyst-thread.ts ─ facts, in pieces ─▶ session
 *
 * One thread, which reads for one identity after the other; a bounded number of each waits, and a flood of long statements is shed. Facts of
 * thousands of parts are copied a piece a turn.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { ConcurrencyLimit } from '../base/concurrency-limit.ts'
import { contained, nextTurn, type Owner } from '../base/contained.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { Assembly, type Piece } from '../base/thread-copy.ts'
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
/** An `Analysed` for each text, and how many pieces of it wait in the other port. */
export interface AnalyseAnswer {
  readonly id: number
  readonly head: unknown
  readonly pieces: number
}

/** What is being put together. */
interface Arriving {
  readonly id: number
  readonly assembly: Assembly
  missing: number
}

/** What the thread has, or is coming from it. */
interface Given {
  readonly texts: readonly string[]
  readonly resolve: (analysed: readonly Analysed[]) => void
  readonly reject: (reason: RingfenceError) => void
  /** Threads that ended while they had it. */
  ended: number
}

/** One that ended with so many threads, and as far as is known for none, is not given to another. */
const endedMax = 3

/** With the thread, so that it has the next when it has read one. */
const givenMax = 2

export class Analyst implements Owner {
  #worker: Worker | undefined
  /** Nobody listens there: a piece is copied when it is asked for. */
  #pieces: MessagePort | undefined
  readonly #arriving: Arriving[] = []
  /** In the order in which the thread reads them. */
  readonly #given = new Map<number, Given>()
  /** Whose facts are being taken; and those that could not be. */
  #taking: number | undefined
  #untaken: number | undefined
  /** By whose it is. */
  readonly #limit = new ConcurrencyLimit<object>(givenMax)
  #next = 0
  #stopped = false

  /** Once there is a client, so that the thread is there before the first long statement comes. Nothing when it runs already. */
  start(): void {
    if (this.#worker !== undefined || this.#stopped) return
    const { port1, port2 } = new MessageChannel()
    const worker = new Worker(new URL('./analyst-thread.ts', import.meta.url), {
      workerData: { pieces: port2 },
      transferList: [port2],
      resourceLimits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 16 },
    })
    worker.unref()
    const onMessage = contained(this, 'an answer of the thread that reads', ({ id, head, pieces }: AnalyseAnswer) => {
      this.#taking = id
      const arriving = { id, assembly: new Assembly(head), missing: pieces }
      if (pieces === 0 && this.#arriving.length === 0) this.#arrived(arriving)
      else if (this.#arriving.push(arriving) === 1) this.#receiveLater()
      this.#taking = undefined
    })
    worker.on('message', onMessage)
    worker.on('error', () => {})
    worker.on(
      'exit',
      contained(this, 'the end of the thread that reads', () => this.#lost(worker)),
    )
    this.#worker = worker
    this.#pieces = port1
  }

  /**
   * Facts of each text, in order. Rejects with `OVERLOADED` when too many of the identity wait, or when the thread died over one of them.
   * @param who the same for all that one identity asks
   */
  analyse(texts: readonly string[], who: object): Promise<readonly Analysed[]> {
    if (this.#worker === undefined || this.#limit.waitingOf(who) >= limits.longStatementsWaitingMax) {
      return Promise.reject(new RingfenceError('OVERLOADED', 'longStatementsWaitingMax reached'))
    }
    const read = (): Promise<readonly Analysed[]> =>
      new Promise((resolve, reject) => this.#give({ texts, resolve, reject, ended: 0 }))
    return this.#limit.run(who, read)
  }

  #receiveLater(): void {
    nextTurn(this, 'a piece of what the thread read', () => this.#receive())
  }

  /** One piece. */
  #receive(): void {
    const arriving = this.#arriving[0]
    // The thread has ended meanwhile.
    if (arriving === undefined || this.#pieces === undefined) return
    this.#taking = arriving.id
    if (arriving.missing > 0) {
      const received: { message: Piece } | undefined = receiveMessageOnPort(this.#pieces)
      assert(received !== undefined, 'pieces come before their head')
      arriving.assembly.put(received.message)
      arriving.missing--
    }
    if (arriving.missing === 0) {
      this.#arriving.shift()
      this.#arrived(arriving)
    }
    this.#taking = undefined
    if (this.#arriving.length > 0) this.#receiveLater()
  }

  #arrived({ id, assembly }: Arriving): void {
    const given = this.#given.get(id)
    this.#given.delete(id)
    given?.resolve(assembly.value as readonly Analysed[])
  }

  /** The thread ends, and another one is started. */
  onFault(): void {
    this.#untaken ??= this.#taking
    this.#taking = undefined
    void this.#worker?.terminate()
  }

  stop(): void {
    this.#stopped = true
    this.#pieces?.close()
    this.#pieces = undefined
    void this.#worker?.terminate()
  }

  #give(order: Given): void {
    if (this.#worker === undefined) {
      order.reject(unread())
      return
    }
    const id = this.#next++
    this.#given.set(id, order)
    this.#worker.postMessage({ id, texts: order.texts } satisfies AnalyseOrder)
  }

  #lost(worker: Worker): void {
    if (worker !== this.#worker) return
    this.#worker = undefined
    this.#pieces?.close()
    this.#pieces = undefined
    // It reads one after the other: it died over the first that it had not read, where nothing was wrong with what came of it.
    const read = new Set(this.#arriving.map(({ id }) => id))
    const blamed = this.#untaken ?? [...this.#given.keys()].find((id) => !read.has(id))
    const given = [...this.#given]
    this.#arriving.length = 0
    this.#given.clear()
    this.#untaken = undefined
    this.start()
    for (const [id, order] of given) {
      order.ended++
      if (this.#stopped || id === blamed || order.ended === endedMax) order.reject(unread())
      else this.#give(order)
    }
  }
}

function unread(): RingfenceError {
  return new RingfenceError('OVERLOADED', 'the statement could not be read')
}
