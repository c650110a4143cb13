/**
 * Questions to a server outside that decide a log-in. A bounded number is asked at one time; others wait their turn, for a bounded time.
 * The same question is asked once at a time. Its answer is remembered for as long as the caller says.
 *
 * Rule: only answers are remembered. After a refusal, or when nobody answered, the next try asks again. Strangers can ask, so one address has
 * half of the places at most, leaves as much room to wait as it takes, and waits for its own.
 */
import { type Cache, createCache } from '../../base/cache.ts'
import { ConcurrencyLimit } from '../../base/concurrency-limit.ts'
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
  /** By the address for which they are asked. */
  readonly #limit: ConcurrencyLimit<string>

  constructor(whom: string, answersMax: number, bounds: AskingBounds = usualBounds) {
    this.#whom = whom
    this.#bounds = bounds
    this.#answers = createCache(answersMax)
    this.#limit = new ConcurrencyLimit(bounds.askedMax, Math.ceil(bounds.askedMax / 2))
  }

  /**
   * @param key names the question: two of one name have one answer
   * @param from address of whoever wants to log in
   * @param ask must end by itself, within a bound of time
   * @param endMs of what was answered, by the same clock as `nowMs`
   */
  async of(key: string, from: string, nowMs: number, ask: () => Promise<T>, endMs: (answer: T) => number): Promise<T> {
    const known = this.#answers.get(key)
    if (known !== undefined && known.endMs > nowMs) return known.answer
    const already = this.#asked.get(key)
    if (already !== undefined) return already
    const asked = this.#askOnce(key, from, ask)
    this.#asked.set(key, asked)
    const answer = await asked
    this.#answers.set(key, { answer, endMs: endMs(answer) })
    return answer
  }

  async #askOnce(key: string, from: string, ask: () => Promise<T>): Promise<T> {
    try {
      return await this.#inTurn(from, ask)
    } finally {
      this.#asked.delete(key)
    }
  }

  async #inTurn(from: string, ask: () => Promise<T>): Promise<T> {
    const roomLeft = this.#bounds.waitingMax - this.#limit.waiting
    if (!this.#limit.isOpenTo(from) && this.#limit.waitingOf(from) >= roomLeft) {
      throw new LogInRefused('verifier-away', `too many log-ins wait for ${this.#whom}`, {
        words: 'too many log-ins at once; try again',
      })
    }
    return this.#limit.run(from, ask)
  }
}
