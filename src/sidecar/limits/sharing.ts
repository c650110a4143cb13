/**
 * Asks the control plane each second for this sidecar's parts of limits, and sooner where somebody waits for one.
 *
 * Rule: one question at a time, and an answer of an earlier control plane is not taken. No request waits for an answer longer than it may wait at all.
 */
import { randomBytes } from 'node:crypto'
import { after, containOwnFault, nothingEnds, unawaited } from '../../base/contained.ts'
import { type LimitShares, type LimitSharesAnswer, partKeptMs } from '../../mesh/limit-shares.ts'
import type { Logger } from '../../telemetry/log.ts'
import type { Parts } from './parts.ts'

export type AskLimitShares = (asked: LimitShares) => Promise<LimitSharesAnswer>

const eachMs = 1000
/** Who waits for a first part, and the second look at one that was just given. */
const soonMs = 20
const secondLookMs = 150

export class Sharing {
  readonly #parts: Parts
  readonly #ask: AskLimitShares
  readonly #log: Logger
  readonly #nowMicros: () => number
  readonly #process = randomBytes(8).toString('hex')
  #timer: NodeJS.Timeout | undefined
  #dueMicros = 0
  #asking = false
  #stopped = false
  #term = 0
  #answeredMicros = 0
  #isAway = false

  constructor(parts: Parts, ask: AskLimitShares, log: Logger, nowMicros: () => number) {
    this.#parts = parts
    this.#ask = ask
    this.#log = log
    this.#nowMicros = nowMicros
    parts.onUrgent = () => this.#in(soonMs)
  }

  start(): void {
    // Those of many sidecars are not to come at one moment.
    this.#in(eachMs * Math.random())
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  /** One question and its answer. */
  async round(): Promise<void> {
    if (this.#asking) return
    const asked = this.#parts.toAsk(this.#nowMicros())
    if (asked === undefined) return
    this.#asking = true
    try {
      const answer = await this.#ask({ process: this.#process, ...asked })
      // One that stays the only one to answer is taken: the clock by which it began may have been put back.
      if (answer.term < this.#term && !this.#isLate) return this.#away('the answer is of an earlier control plane')
      this.#term = answer.term
      this.#answeredMicros = this.#nowMicros()
      this.#parts.take(answer, this.#answeredMicros)
      if (this.#isAway) this.#log.info('the control plane shares rate limits again')
      this.#isAway = false
      if (answer.parts.some(([, , isWhole]) => isWhole)) this.#in(secondLookMs)
    } catch (reason) {
      containOwnFault('a question about rate limits', reason)
      this.#away(String(reason))
    } finally {
      this.#asking = false
    }
  }

  /** Others may have been given by now what this sidecar has. */
  get #isLate(): boolean {
    return this.#nowMicros() - this.#answeredMicros > partKeptMs * 1000
  }

  #away(reason: string): void {
    if (!this.#isAway) {
      const text =
        'the control plane cannot be asked to share rate limits; this sidecar goes on with the parts that it has'
      this.#log.warn({ reason }, text)
    }
    this.#isAway = true
    if (this.#isLate) this.#parts.lose()
  }

  #in(ms: number): void {
    const dueMicros = this.#nowMicros() + ms * 1000
    if (this.#stopped || (this.#timer !== undefined && this.#dueMicros <= dueMicros)) return
    clearTimeout(this.#timer)
    this.#dueMicros = dueMicros
    this.#timer = after(nothingEnds, 'the time to share rate limits', ms, () => {
      this.#timer = undefined
      this.#in(eachMs * (0.9 + Math.random() / 5))
      unawaited(nothingEnds, 'a question about rate limits', this.round())
    }).unref()
  }
}
