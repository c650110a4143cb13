/** What is printed line by line as it comes, until it is enough, somebody ends it, or nobody reads it any more. */
import { once } from 'node:events'
import { constants } from 'node:os'
import { contained, nothingEnds } from '../base/contained.ts'

const place = 'following'
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export class Following implements Disposable {
  readonly #limit: number | undefined
  readonly #ending = new AbortController()
  readonly #listeners: (readonly [string, () => void])[] = []
  #count = 0
  #isFull = false

  /** Ends with 130 after Ctrl-C. @param limit it ends after so many lines */
  constructor(limit: number | undefined) {
    this.#limit = limit
    for (const signal of signals) {
      const end = contained(nothingEnds, place, () => {
        process.exitCode = 128 + constants.signals[signal]
        this.end()
      })
      process.on(signal, end)
      this.#listeners.push([signal, end])
    }
    process.stdout.on('error', this.#onGone)
  }

  /** Whoever read it, such as `head`, has enough. */
  readonly #onGone = contained(nothingEnds, place, () => this.end())

  get signal(): AbortSignal {
    return this.#ending.signal
  }

  get isOver(): boolean {
    return this.signal.aborted
  }

  end(): void {
    this.#ending.abort()
  }

  print(text: string): void {
    if (this.isOver) return
    this.#isFull = !process.stdout.write(`${text}\n`)
    if (++this.#count === this.#limit) this.end()
  }

  /** Resolves when there is room for more. */
  async written(): Promise<void> {
    if (!this.#isFull || this.isOver) return
    this.#isFull = false
    await this.unlessOver(once(process.stdout, 'drain', { signal: this.signal }))
  }

  /** What was awaited with `signal`; that it is over is no fault. */
  async unlessOver(waiting: Promise<unknown>): Promise<void> {
    try {
      await waiting
    } catch (reason) {
      if (!this.isOver) throw reason
    }
  }

  [Symbol.dispose](): void {
    for (const [signal, end] of this.#listeners) process.off(signal, end)
    process.stdout.off('error', this.#onGone)
  }
}
