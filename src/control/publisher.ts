/**
 * Sends each pushed value to the proxies whose role may have it: the present one when they begin to watch, then every later one. Whoever
 * makes a value sets it here.
 */
import { contain, nothingEnds } from '../base/contained.ts'
import type { Observed } from '../mesh/observable.ts'
import { allPushedKinds, type PushedKinds } from '../mesh/pushed.ts'
import type { PushedKind } from '../mesh/pushed-kind.ts'
import { PushedValues } from '../mesh/pushed-values.ts'
import type { AgentRole } from '../mesh/roles.ts'
import { lineOf } from '../mesh/watch.ts'
import type { Logger } from '../telemetry/log.ts'

/** Takes a line of the watch stream. */
export type SendLine = (line: string) => void

export class Publisher {
  readonly #values: PushedValues
  readonly #log: Pick<Logger, 'error'>
  readonly #watchers = new Map<SendLine, AgentRole>()

  constructor(log: Pick<Logger, 'error'>, kinds: PushedKinds = allPushedKinds) {
    this.#log = log
    this.#values = new PushedValues(kinds)
    for (const kind of kinds) this.#values.value(kind).observe((value) => this.#publish(kind, value))
  }

  /** What is set here is published, unless it is what is published already. */
  value<T>(kind: PushedKind<T>): Observed<T> {
    return this.#values.value(kind)
  }

  /** Sends all that `role` may have, in the order of the list, then every change, until the result is called. */
  watch(send: SendLine, role: AgentRole): () => void {
    for (const kind of this.#values.kinds) {
      if (kind.roles.includes(role)) send(lineOf(kind, this.#values.value(kind).current, this.#log))
    }
    this.#watchers.set(send, role)
    return () => this.#watchers.delete(send)
  }

  #publish(kind: PushedKind<unknown>, value: unknown): void {
    let line: string | undefined
    for (const [send, role] of this.#watchers) {
      if (!kind.roles.includes(role)) continue
      line ??= lineOf(kind, value, this.#log)
      const changed = line
      // A watcher that fails is no other's loss.
      contain(nothingEnds, 'a watcher', () => send(changed))
    }
  }
}
