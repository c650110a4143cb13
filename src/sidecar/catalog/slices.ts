/**
 * Long work for many identities, done in slices on the loop: one slice in each turn of the loop, for one identity after the other.
 */
import { nextTurn, nothingEnds } from '../../base/contained.ts'
import { FairQueue } from '../../base/fair-queue.ts'

/** What one turn of the loop gives. */
const sliceMs = 4

interface Work {
  readonly steps: () => boolean
  readonly done: () => void
}

export class Slices {
  /** By whose it is. */
  readonly #queue = new FairQueue<object, Work>()
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
      this.#queue.push(identity, { steps: step, done })
      this.#arm()
    })
  }

  #arm(): void {
    if (this.#armed || this.#queue.length === 0) return
    this.#armed = true
    nextTurn(nothingEnds, 'long work in slices', () => this.#turn())
  }

  #turn(): void {
    this.#armed = false
    const until = performance.now() + sliceMs
    do {
      const next = this.#queue.shift()
      if (next === undefined) break
      const { who, item: work } = next
      let ended = work.steps()
      while (!ended && performance.now() < until) ended = work.steps()
      if (ended) work.done()
      else this.#queue.unshift(who, work)
    } while (performance.now() < until)
    this.#arm()
  }
}
