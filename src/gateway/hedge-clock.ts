/** What is to be done a fixed time later, many times over: one timer for each time, however many wait for it. */

import { after, contain, nothingEnds } from '../base/contained.ts'

interface Waiting {
  readonly dueMs: number
  readonly act: () => void
}

export class HedgeClock {
  /** By the time to wait; of one time the first to come is the first to be due. */
  readonly #queues = new Map<number, { waiting: Waiting[]; timer: NodeJS.Timeout | undefined }>()
  readonly #nowMs: () => number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  after(ms: number, act: () => void): void {
    let queue = this.#queues.get(ms)
    if (queue === undefined) {
      queue = { waiting: [], timer: undefined }
      this.#queues.set(ms, queue)
    }
    queue.waiting.push({ dueMs: this.#nowMs() + ms, act })
    queue.timer ??= this.#timer(ms, ms)
  }

  stop(): void {
    for (const { timer } of this.#queues.values()) clearTimeout(timer)
    this.#queues.clear()
  }

  #timer(ms: number, leftMs: number): NodeJS.Timeout {
    return after(nothingEnds, 'reads that are asked twice', leftMs, () => this.#run(ms))
  }

  #run(ms: number): void {
    const queue = this.#queues.get(ms)
    if (queue === undefined) return
    const now = this.#nowMs()
    const due = queue.waiting.findIndex(({ dueMs }) => dueMs > now)
    const done = queue.waiting.splice(0, due < 0 ? queue.waiting.length : due)
    const [next] = queue.waiting
    queue.timer = next === undefined ? undefined : this.#timer(ms, next.dueMs - now)
    for (const { act } of done) contain(nothingEnds, 'a read that is asked twice', act)
  }
}
