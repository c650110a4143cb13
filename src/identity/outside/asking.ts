/**
 * Questions to a server outside that decide a log-in. A bounded number is asked at one time; others wait their turn, for a bounded time.
 * The same question is asked once at a time. Its answer is remembered for as long as the caller says.
 *
 * Rule: only answers are remembered. After a refusal, or when nobody answered, the next try asks again.
 */
import { type Cache, createCache } from '../../base/cache.ts'
import { limits } from '../../base/limits.ts'
import { LogInRefused } from '../refusal.ts'

export interface AskingBounds {
  /** Questions at one time. */
  readonly askedMax: number
  /** And those of which none is asked yet. */
  readonly waitingMax: number
}

const usualBounds: AskingBounds = { askedMax: limits.outsideAskedMax, waitingMax: limits.outsideWaitingMax }

interface Answered<T> {
  readonly answer: T
  readonly endMs: number
}

export class Asking<T extends {}> {
  readonly #bounds: AskingBounds
  /** Who is asked, for people. */
  readonly #whom: string
  readonly #answers: Cache<Answered<T>>
  readonly #asked = new Map<string, Promise<T>>()
  readonly #waiting: (() => void)[] = []
  #asking = 0

  constructor(whom: string, answersMax: number, bounds: AskingBounds = usualBounds) {
    this.#whom = whom
    this.#bounds = bounds
    this.#answers = createCache(answersMax)
  }

  /**
   * @param key names the question: two of one name have one answer
   * @param ask must end by itself, within a bound of time
   * @param endMs of what was answered, by the same clock as `nowMs`
   */
  async of(key: string, nowMs: number, ask: () => Promise<T>, endMs: (answer: T) => number): Promise<T> {
    const known = this.#answers.get(key)
    if (known !== undefined && known.endMs > nowMs) return known.answer
    const already = this.#asked.get(key)
    if (already !== undefined) return already
    const asked = this.#askOnce(key, ask)
    this.#asked.set(key, asked)
    const answer = await asked
    this.#answers.set(key, { answer, endMs: endMs(answer) })
    return answer
  }

  async #askOnce(key: string, ask: () => Promise<T>): Promise<T> {
    try {
      return await this.#inTurn(ask)
    } finally {
      this.#asked.delete(key)
    }
  }

  async #inTurn(ask: () => Promise<T>): Promise<T> {
    if (this.#asking >= this.#bounds.askedMax) {
      if (this.#waiting.length >= this.#bounds.waitingMax) {
        throw new LogInRefused('verifier-away', `too many log-ins wait for ${this.#whom}`, {
          words: 'too many log-ins at once; try again',
        })
      }
      // Who ends gives its place on.
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    } else this.#asking++
    try {
      return await ask()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#asking--
      else next()
    }
  }
}
