/** One value of each kind that is pushed, as a process has them. */
import { assert } from '../base/errors.ts'
import { Observed } from './observable.ts'
import type { PushedKinds } from './pushed.ts'
import type { PushedKind } from './pushed-kind.ts'

export class PushedValues {
  readonly kinds: PushedKinds
  readonly #values = new Map<PushedKind<unknown>, Observed<unknown>>()

  constructor(kinds: PushedKinds, onFault?: (reason: unknown) => void) {
    this.kinds = kinds
    for (const kind of kinds) this.#values.set(kind, new Observed(kind.empty, (value) => kind.version(value), onFault))
    assert(new Set(kinds.map(({ name }) => name)).size === kinds.length, 'two kinds of pushed values have one name')
  }

  /** Empty where nothing was received, or the kind is not for this role. */
  value<T>(kind: PushedKind<T>): Observed<T> {
    const value = this.#values.get(kind as PushedKind<unknown>)
    assert(value !== undefined, `${kind.name} is not in this process's list of pushed kinds`)
    // The constructor made it of this very kind.
    return value as unknown as Observed<T>
  }

  kindNamed(name: string): PushedKind<unknown> | undefined {
    return this.kinds.find((kind) => kind.name === name)
  }
}
