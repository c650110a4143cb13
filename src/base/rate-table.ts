/**
 * Rates of many keys, by the generic cell rate algorithm (ITU-T I.371): of each key one number is kept, the time at which all that it took is
 * paid for. Who asks later than that owes nothing, and has all of its burst.
 *
 *   may take now:  paid − now ≤ tolerance          takes n units:  paid = max(paid, now) + n × interval
 *
 * A take may be larger than what is left: the rest is a debt, and nothing more is given until it is paid. The clock is the caller's: microseconds
 * that only ever grow.
 *
 * Rule: no object is made for a take. A key that owes nothing may be forgotten, for it would begin with the same number.
 */
const slotsAtFirst = 256
/** Keys that are looked at for one that owes nothing, where there is room for no more. */
const probesMax = 64

export class RateTable {
  readonly #keysMax: number
  // No LRU: what goes is what owes nothing, however lately it was used.
  readonly #slots = new Map<string, number>()
  readonly #keys: string[] = []
  #paid = new Float64Array(slotsAtFirst)
  #generations = new Uint32Array(slotsAtFirst)
  /** Where the search for one that owes nothing goes on. */
  #hand = 0

  constructor(keysMax: number) {
    this.#keysMax = keysMax
  }

  get size(): number {
    return this.#keys.length
  }

  /** The place of a key, which is good while its generation stays. */
  slot(key: string, nowMicros: number): number {
    const known = this.#slots.get(key)
    if (known !== undefined) return known
    const slot = this.#keys.length < this.#keysMax ? this.#keys.length : this.#freed(nowMicros)
    if (slot >= this.#paid.length) this.#grow()
    this.#keys[slot] = key
    this.#paid[slot] = 0
    this.#slots.set(key, slot)
    return slot
  }

  /** Another number where another key has the place. */
  generation(slot: number): number {
    return this.#generations[slot]!
  }

  /** So long is what it took not paid for; at most 0 where all is. */
  owedMicros(slot: number, nowMicros: number): number {
    return this.#paid[slot]! - nowMicros
  }

  /** @param micros units × interval; below 0 for what was charged too much */
  charge(slot: number, micros: number, nowMicros: number): void {
    const paid = this.#paid[slot]!
    this.#paid[slot] = Math.max(paid, nowMicros) + micros
  }

  /** What it owes from now on. */
  set(slot: number, owedMicros: number, nowMicros: number): void {
    this.#paid[slot] = nowMicros + owedMicros
  }

  /** The place of one that owes nothing, or of those that were looked at the one that owes least. */
  #freed(nowMicros: number): number {
    let least = this.#hand
    for (let probe = 0; probe < probesMax; probe++) {
      this.#hand = (this.#hand + 1) % this.#keysMax
      if (this.#paid[this.#hand]! < this.#paid[least]!) least = this.#hand
      if (this.#paid[least]! <= nowMicros) break
    }
    this.#slots.delete(this.#keys[least]!)
    this.#generations[least] = this.#generations[least]! + 1
    return least
  }

  #grow(): void {
    const length = Math.min(this.#keysMax, this.#paid.length * 2)
    const [paid, generations] = [new Float64Array(length), new Uint32Array(length)]
    paid.set(this.#paid)
    generations.set(this.#generations)
    this.#paid = paid
    this.#generations = generations
  }
}
