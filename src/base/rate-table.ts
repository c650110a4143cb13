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
  // Beside it, for who shares a limit with others (`sidecar/limits/sharing.ts`): its part of the limit, 0 where none was given; what was taken of
  // it ever, and asked for since somebody looked, in microseconds of the whole limit.
  #parts = new Float64Array(slotsAtFirst)
  #taken = new Float64Array(slotsAtFirst)
  #wanted = new Float64Array(slotsAtFirst)
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
    this.#parts[slot] = 0
    this.#taken[slot] = 0
    this.#wanted[slot] = 0
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

  keyOf(slot: number): string {
    return this.#keys[slot]!
  }

  part(slot: number): number {
    return this.#parts[slot]!
  }

  /** @param part 0 for none */
  setPart(slot: number, part: number): void {
    this.#parts[slot] = part
  }

  taken(slot: number): number {
    return this.#taken[slot]!
  }

  take(slot: number, micros: number): void {
    this.#taken[slot] = this.#taken[slot]! + micros
  }

  want(slot: number, micros: number): void {
    this.#wanted[slot] = this.#wanted[slot]! + micros
  }

  /** What was asked for since this was called. */
  wanted(slot: number): number {
    const wanted = this.#wanted[slot]!
    this.#wanted[slot] = 0
    return wanted
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
    const grown = (column: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> => {
      const longer = new Float64Array(length)
      longer.set(column)
      return longer
    }
    this.#paid = grown(this.#paid)
    this.#parts = grown(this.#parts)
    this.#taken = grown(this.#taken)
    this.#wanted = grown(this.#wanted)
    const generations = new Uint32Array(length)
    generations.set(this.#generations)
    this.#generations = generations
  }
}
