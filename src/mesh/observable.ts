/** Values that change while the process runs. */
import type { Logger } from '../telemetry/log.ts'

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
  readonly #log: Pick<Logger, 'error'>
  readonly #callbacks = new Set<(value: T) => void>()
  #current: T
  #version: string

  constructor(first: T, versionOf: (value: T) => string, log: Pick<Logger, 'error'>) {
    this.#versionOf = versionOf
    this.#log = log
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

  /** False where the value is the present one, of which nobody is told again. A callback that throws is logged; the others are called. */
  set(value: T): boolean {
    const version = this.#versionOf(value)
    if (version === this.#version) return false
    this.#current = value
    this.#version = version
    for (const callback of this.#callbacks) {
      try {
        callback(value)
      } catch (err) {
        this.#log.error({ err }, 'an observer failed')
      }
    }
    return true
  }
}
