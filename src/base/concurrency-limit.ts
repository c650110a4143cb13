/** How many may do something at once: in all, and for one identity. Who comes beyond that waits for his turn. */
import { Counts } from '../../base/counts.ts'

export class Gate {
  readonly #max: number
  readonly #perIdentityMax: number
  readonly #inside = new Counts<object>()
  #count = 0
  /** In the order in which they came. */
  readonly #waiting: { readonly identity: object; readonly enter: () => void }[] = []

  constructor(max: number, perIdentityMax: number) {
    this.#max = max
    this.#perIdentityMax = perIdentityMax
  }

  /** Runs `work` when it is its turn. */
  async through<Result>(identity: object, work: () => Promise<Result>): Promise<Result> {
    if (this.#isOpen(identity)) this.#enter(identity)
    else await new Promise<void>((enter) => this.#waiting.push({ identity, enter }))
    try {
      return await work()
    } finally {
      this.#leave(identity)
    }
  }

  #isOpen(identity: object): boolean {
    return this.#count < this.#max && this.#inside.of(identity) < this.#perIdentityMax
  }

  #enter(identity: object): void {
    this.#count++
    this.#inside.more(identity)
  }

  #leave(identity: object): void {
    this.#count--
    this.#inside.less(identity)
    const next = this.#waiting.findIndex((each) => this.#isOpen(each.identity))
    const [entered] = next < 0 ? [] : this.#waiting.splice(next, 1)
    if (entered === undefined) return
    this.#enter(entered.identity)
    entered.enter()
  }
}
