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

interface Waiting {
  readonly who: object
  readonly texts: readonly string[]
  readonly resolve: (analysed: readonly Analysed[]) => void
  readonly reject: (reason: RingfenceError) => void
}

/** With the thread, so that it has the next when it has read one. */
const givenMax = 2

export class Analyst implements Owner {
  #worker: Worker | undefined
  /** Nobody listens there: a piece is copied when it is asked for. */
  #pieces: MessagePort | undefined
  readonly #arriving: Arriving[] = []
  /** What the thread has, or is coming from it. */
  readonly #given = new Map<number, Waiting>()
  /** By whose it is; who was served last stands last. */
  readonly #queues = new Map<object, Waiting[]>()
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
      const arriving = { id, assembly: new Assembly(head), missing: pieces }
      if (pieces === 0 && this.#arriving.length === 0) this.#arrived(arriving)
      else if (this.#arriving.push(arriving) === 1) this.#receiveLater()
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
    if (this.#worker === undefined || (this.#queues.get(who)?.length ?? 0) >= limits.longStatementsWaitingMax) {
      return Promise.reject(new RingfenceError('OVERLOADED', 'longStatementsWaitingMax reached'))
    }
    return new Promise((resolve, reject) => {
      this.#queueOf(who).push({ who, texts, resolve, reject })
      this.#give()
    })
  }

  #receiveLater(): void {
    nextTurn(this, 'a piece of what the thread read', () => this.#receive())
  }

  /** One piece. */
  #receive(): void {
    const arriving = this.#arriving[0]
    // The thread has ended meanwhile.
    if (arriving === undefined || this.#pieces === undefined) return
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
    if (this.#arriving.length > 0) this.#receiveLater()
  }

  #arrived({ id, assembly }: Arriving): void {
    const given = this.#given.get(id)
    this.#given.delete(id)
    this.#give()
    given?.resolve(assembly.value as readonly Analysed[])
  }

  /** The thread ends, and with it what waits; another one is started. */
  onFault(): void {
    void this.#worker?.terminate()
  }

  stop(): void {
    this.#stopped = true
    this.#pieces?.close()
    this.#pieces = undefined
    void this.#worker?.terminate()
  }

  #give(): void {
    for (const [who, queue] of this.#queues) {
      if (this.#worker === undefined || this.#given.size >= givenMax) return
      this.#queues.delete(who)
      const next = queue.shift()!
      if (queue.length > 0) this.#queues.set(who, queue)
      const id = this.#next++
      this.#given.set(id, next)
      this.#worker.postMessage({ id, texts: next.texts } satisfies AnalyseOrder)
    }
  }

  #lost(worker: Worker): void {
    if (worker !== this.#worker) return
    this.#worker = undefined
    this.#pieces?.close()
    this.#pieces = undefined
    this.#arriving.length = 0
    const given = [...this.#given.values()]
    this.#given.clear()
    const waiting = [...this.#queues.values()].flat()
    // It reads one after the other, so it died over the first.
    const lost = this.#stopped ? [...given, ...waiting] : given.slice(0, 1)
    const again = this.#stopped ? [] : given.slice(1)
    if (this.#stopped) this.#queues.clear()
    for (const { reject } of lost) reject(new RingfenceError('OVERLOADED', 'the statement could not be read'))
    for (const order of again) this.#queueOf(order.who).unshift(order)
    this.start()
    this.#give()
  }

  #queueOf(who: object): Waiting[] {
    const queue = this.#queues.get(who) ?? []
    this.#queues.set(who, queue)
    return queue
  }
}
