/** Callbacks of one kind; one that throws is logged and does not keep the others from being called. */
import type { Logger } from '../telemetry/log.ts'

export class Listeners<T> {
  readonly #log: Logger
  readonly #callbacks = new Set<(value: T) => void>()

  constructor(log: Logger) {
    this.#log = log
  }

  add(callback: (value: T) => void): () => void {
    this.#callbacks.add(callback)
    return () => this.#callbacks.delete(callback)
  }

  call(value: T): void {
    for (const callback of this.#callbacks) {
      try {
        callback(value)
      } catch (err) {
        this.#log.error({ err }, 'a listener failed')
      }
    }
  }
}
