/** Questions of a supervisor to its workers, such as for what their admin port shows. Each is answered, or given up after a while. */
import type { ChildProcess } from 'node:child_process'
import { after, nothingEnds } from '../base/contained.ts'
import type { FromWorker, ToWorker } from './worker-messages.ts'

/** A worker that is busy for longer does not answer. */
const answerMsMax = 2_000

interface Waiting {
  readonly resolve: (answer: unknown) => void
  readonly timer: NodeJS.Timeout
}

export class WorkerQuestions {
  // No LRU: each is taken out by its answer or its timer.
  readonly #waiting = new Map<number, Waiting>()
  #asked = 0

  /** Undefined where it did not answer. */
  ask(child: ChildProcess, what: string): Promise<unknown> {
    const number = ++this.#asked
    const question: ToWorker = { kind: 'ask', number, what }
    return new Promise((resolve) => {
      const timer = after(nothingEnds, 'a question to a worker', answerMsMax, () => this.answered(number, undefined))
      this.#waiting.set(number, { resolve, timer })
      child.send(question, (error) => {
        if (error !== null) this.answered(number, undefined)
      })
    })
  }

  take({ number, answer }: Extract<FromWorker, { kind: 'answer' }>): void {
    this.answered(number, answer)
  }

  answered(number: number, answer: unknown): void {
    const waiting = this.#waiting.get(number)
    if (waiting === undefined) return
    this.#waiting.delete(number)
    clearTimeout(waiting.timer)
    waiting.resolve(answer)
  }
}
