/** How much is done at one time: in all, and for one of those who ask. What comes beyond that waits, and those who wait take turns. */
import { Counts } from './counts.ts'
import { FairQueue } from './fair-queue.ts'

export class ConcurrencyLimit<Who> {
  readonly #max: number
  readonly #perOneMax: number
  readonly #running = new Counts<Who>()
  #count = 0
  readonly #waiting = new FairQueue<Who, () => void>()

  constructor(max: number, perOneMax: number = max) {
    this.#max = max
    this.#perOneMax = perOneMax
  }

  get waiting(): number {
    return this.#waiting.length
  }

  waitingOf(who: Who): number {
    return this.#waiting.lengthOf(who)
  }

  /** What comes now does not wait. */
  isOpenTo(who: Who): boolean {
    return this.#count < this.#max && this.#running.of(who) < this.#perOneMax
  }

  /** Does `work` when it is its turn. */
  async run<Result>(who: Who, work: () => Promise<Result>): Promise<Result> {
    if (this.isOpenTo(who)) this.#begin(who)
    else await new Promise<void>((begun) => this.#waiting.push(who, begun))
    try {
      return await work()
    } finally {
      this.#end(who)
    }
  }

  #begin(who: Who): void {
    this.#count++
    this.#running.more(who)
  }

  /** Its place goes to one who waits. */
  #end(who: Who): void {
    this.#count--
    this.#running.less(who)
    const next = this.#waiting.shift((one) => this.isOpenTo(one))
    if (next === undefined) return
    this.#begin(next.who)
    next.item()
  }
}
