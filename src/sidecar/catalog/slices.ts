/**
 * Long work for many identities, done in slices on the loop: one slice in each turn of the loop, for one identity after the other.
 */

/** What one turn of the loop gives. */
const sliceMs = 4

interface Work {
  readonly steps: () => boolean
  readonly done: () => void
}

export class Slices {
  /** By whose it is; who was served last stands last. */
  readonly #queues = new Map<object, Work[]>()
  #armed = false

  /** What `steps` returns in the end. Throws what it throws. */
  run<Result>(identity: object, steps: () => Generator<void, Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      let running: Generator<void, Result> | undefined
      let result: { readonly value: Result } | { readonly reason: unknown } | undefined
      const step = (): boolean => {
        try {
          running ??= steps()
          const next = running.next()
          if (next.done !== true) return false
          result = { value: next.value }
        } catch (reason) {
          result = { reason }
        }
        return true
      }
      const done = (): void => {
        if (result === undefined) return
        if ('value' in result) resolve(result.value)
        else reject(result.reason)
      }
      const queue = this.#queues.get(identity)
      if (queue === undefined) this.#queues.set(identity, [{ steps: step, done }])
      else queue.push({ steps: step, done })
      this.#arm()
    })
  }

  #arm(): void {
    if (this.#armed || this.#queues.size === 0) return
    this.#armed = true
    setImmediate(() => this.#turn())
  }

  #turn(): void {
    this.#armed = false
    const until = performance.now() + sliceMs
    for (const [identity, queue] of this.#queues) {
      const [work] = queue
      this.#queues.delete(identity)
      if (work !== undefined) {
        let ended = work.steps()
        while (!ended && performance.now() < until) ended = work.steps()
        if (ended) {
          queue.shift()
          work.done()
        }
        if (queue.length > 0) this.#queues.set(identity, queue)
      }
      if (performance.now() >= until) break
    }
    this.#arm()
  }
}
