/** Values that change while the process runs. */
import { containFault, containRest, nothingEnds } from '../base/contained.ts'

export interface Observable<T> {
  readonly current: T
  /** Another value has another version. Equal values have equal versions, in every process. */
  readonly version: string
  /** Calls `callback` after each later change. The result ends that. */
  observe(callback: (value: T) => void): () => void
}

/** An `Observable` in the hand of who sets it. */
export class Observed<T> implements Observable<T> {
  readonly #versionOf: (value: T) => string
  readonly #onFault: (reason: unknown) => void
  readonly #callbacks = new Set<(value: T) => void>()
  #current: T
  #version: string

  /** @param onFault is called with what an observer throws; it is contained where nobody else asks for it */
  constructor(first: T, versionOf: (value: T) => string, onFault: (reason: unknown) => void = observerFailed) {
    this.#versionOf = versionOf
    this.#onFault = onFault
    this.#current = first
    this.#version = versionOf(first)
  }

  get current(): T {
    return this.#current
  }

  get version(): string {
    return this.#version
  }

  observe(callback: (value: T) => void): () => void {
    this.#callbacks.add(callback)
    return () => this.#callbacks.delete(callback)
  }

  /** False where the value is the present one, of which nobody is told again. What one callback throws keeps no other from being called. */
  set(value: T): boolean {
    const version = this.#versionOf(value)
    if (version === this.#version) return false
    this.#current = value
    this.#version = version
    for (const callback of this.#callbacks) {
      try {
        containRest(nothingEnds, place, callback(value))
      } catch (reason) {
        this.#onFault(reason)
      }
    }
    return true
  }
}

/** Of faults. */
const place = 'an observer of a value'

function observerFailed(reason: unknown): void {
  containFault(nothingEnds, place, reason)
}
