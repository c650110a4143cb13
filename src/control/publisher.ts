/**
 * What proxies are told, and who is told it: each value to the roles that its kind is for, the present one at once and then every later
 * one. Whoever makes a value sets it here.
 */
import type { Observed } from '../mesh/observable.ts'
import { allPushedKinds, type PushedKinds } from '../mesh/pushed.ts'
import type { PushedKind } from '../mesh/pushed-kind.ts'
import { PushedValues } from '../mesh/pushed-values.ts'
import type { AgentRole } from '../mesh/roles.ts'
import { lineOf } from '../mesh/watch.ts'
import type { Logger } from '../telemetry/log.ts'

/** Takes a line of the watch stream. */
export type Tell = (line: string) => void

export class Publisher {
  readonly #values: PushedValues
  readonly #log: Pick<Logger, 'error'>
  readonly #watchers = new Map<Tell, AgentRole>()

  constructor(log: Pick<Logger, 'error'>, kinds: PushedKinds = allPushedKinds) {
    this.#log = log
    this.#values = new PushedValues(kinds, log)
    for (const kind of kinds) this.#values.value(kind).observe((value) => this.#publish(kind, value))
  }

  /** What is set here is published, unless it is what is published already. */
  value<T>(kind: PushedKind<T>): Observed<T> {
    return this.#values.value(kind)
  }

  /** Tells all that `role` may know, in the order of the list, then every change, until the result is called. */
  watch(tell: Tell, role: AgentRole): () => void {
    for (const kind of this.#values.kinds) {
      if (kind.roles.includes(role)) tell(lineOf(kind, this.#values.value(kind).current, this.#log))
    }
    this.#watchers.set(tell, role)
    return () => this.#watchers.delete(tell)
  }

  #publish(kind: PushedKind<unknown>, value: unknown): void {
    let line: string | undefined
    for (const [tell, role] of this.#watchers) {
      if (!kind.roles.includes(role)) continue
      line ??= lineOf(kind, value, this.#log)
      tell(line)
    }
  }
}
