/**
 * The consumer for whoever looks at transactions as they happen; who looks, and at what, is in `tap.ts`, which is loaded when somebody first does.
 *
 * Rule: while nobody looks an event costs one comparison.
 */
import type { Consumer, TransactionEvent } from './event.ts'
import type { RefusedLogIn } from './record.ts'

export type Looking = Required<Pick<Consumer, 'ended' | 'refused'>>

export class Tapped implements Consumer {
  #looking: Looking | undefined

  /** @param looking undefined where nobody does any more */
  tell(looking: Looking | undefined): void {
    this.#looking = looking
  }

  ended(event: TransactionEvent): void {
    if (this.#looking !== undefined) this.#looking.ended(event)
  }

  refused(logIn: RefusedLogIn): void {
    if (this.#looking !== undefined) this.#looking.refused(logIn)
  }
}
