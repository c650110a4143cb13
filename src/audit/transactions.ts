/**
 * Tells everyone who wants to know what happened: first the barrier, then the consumers in the order in which they were given.
 *
 * Rule: a consumer that throws, now or later, costs itself that event, and nobody else anything. The barrier's own faults are the session's.
 */
import { containFault, containRest, nothingEnds } from '../base/contained.ts'
import { assert } from '../base/errors.ts'
import type { Traces } from '../telemetry/traces/traces.ts'
import type { Barrier, Consumer, TransactionEvent } from './event.ts'
import type { RefusedLogIn } from './record.ts'

export interface TransactionsOptions {
  readonly barrier: Barrier
  readonly consumers: readonly Consumer[]
  /** Makes sure that the barrier's `endTurn` is called after this turn. */
  readonly wake: () => void
  /** Which requests are traced; none where it is left out. */
  readonly traces?: Traces | undefined
}

type Told = (event: TransactionEvent) => void

/** Of faults. */
const place = 'a consumer of transactions'

export class Transactions {
  readonly traces: Traces | undefined
  readonly #barrier: Barrier
  readonly #wake: () => void
  readonly #consumers: readonly Consumer[]
  /** A function of each, for V8 finds a method by a name that is a variable by searching. */
  readonly #atBegin: readonly Told[]
  readonly #atEnd: readonly Told[]

  constructor({ barrier, consumers, wake, traces }: TransactionsOptions) {
    this.traces = traces
    this.#barrier = barrier
    this.#wake = wake
    this.#consumers = consumers
    this.#atBegin = consumers.flatMap((each) => each.begun?.bind(each) ?? [])
    this.#atEnd = consumers.flatMap((each) => each.ended?.bind(each) ?? [])
  }

  /** True while what happens cannot be written down: then nothing may be forwarded. */
  get blocked(): boolean {
    return this.#barrier.failed
  }

  /** Called before a request leaves for the node. */
  begun(event: TransactionEvent): void {
    if (this.#barrier.begun !== undefined) {
      isToldNow(this.#barrier.begun(event))
      this.#wake()
    }
    tell(this.#atBegin, event)
  }

  /**
   * Called before the client hears of it. False where it cannot be written down, so that the client is to hear nothing; it is not kept for
   * later either, for strangers could take the room of lines that must not be lost.
   */
  refused(logIn: RefusedLogIn): boolean {
    const isTold = !this.blocked
    if (isTold) {
      isToldNow(this.#barrier.refused?.(logIn))
      this.#wake()
    }
    for (const consumer of this.#consumers) {
      try {
        containRest(nothingEnds, place, consumer.refused?.(logIn))
      } catch (reason) {
        containFault(nothingEnds, place, reason)
      }
    }
    return isTold
  }

  /** Called before the answer is given. */
  ended(event: TransactionEvent): void {
    isToldNow(this.#barrier.ended?.(event))
    this.#wake()
    tell(this.#atEnd, event)
  }
}

function tell(told: readonly Told[], event: TransactionEvent): void {
  for (let at = 0; at < told.length; at++) {
    try {
      containRest(nothingEnds, place, told[at]!(event))
    } catch (reason) {
      containFault(nothingEnds, place, reason)
    }
  }
}

/** An `async` function fits the type of a barrier's, and nobody would wait for what it writes: that is for `commit`. */
function isToldNow(returned: unknown): void {
  if (!(returned instanceof Promise)) return
  containRest(nothingEnds, 'a barrier', returned)
  assert(false, 'a barrier is told at once, and writes later in `commit`')
}
