/**
 * What is remembered of owners until it ends, within a bound for all of it.
 *
 * Rule: whoever fills it forgets its own. Where there is no room, the owner with most loses its oldest. An LRU would not do: there one owner
 * pushes out what others have.
 */
export class OwnedEntries<V extends { readonly endMs: number }> {
  readonly #entriesMax: number
  /** By owner, oldest first. */
  readonly #byOwner = new Map<string, Map<string, V>>()
  #size = 0

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax
  }

  get size(): number {
    return this.#size
  }

  /** Undefined for what is over, too. */
  get(owner: string, key: string, nowMs: number): V | undefined {
    const found = this.#byOwner.get(owner)?.get(key)
    return found !== undefined && found.endMs > nowMs ? found : undefined
  }

  set(owner: string, key: string, value: V, nowMs: number): void {
    this.delete(owner, key)
    this.#forgetEnded(owner, nowMs)
    if (this.#size >= this.#entriesMax) this.#makeRoom(nowMs)
    const own = this.#byOwner.get(owner) ?? new Map<string, V>()
    own.set(key, value)
    this.#byOwner.set(owner, own)
    this.#size++
  }

  delete(owner: string, key: string): void {
    const own = this.#byOwner.get(owner)
    if (own?.delete(key) !== true) return
    this.#size--
    if (own.size === 0) this.#byOwner.delete(owner)
  }

  /** All live about equally long, so that those that are over stand first, or nearly. */
  #forgetEnded(owner: string, nowMs: number): void {
    for (const [key, { endMs }] of this.#byOwner.get(owner) ?? []) {
      if (endMs > nowMs) return
      this.delete(owner, key)
    }
  }

  #makeRoom(nowMs: number): void {
    let [most, mostSize] = ['', 0]
    for (const [owner, entries] of this.#byOwner) {
      this.#forgetEnded(owner, nowMs)
      if (entries.size > mostSize) [most, mostSize] = [owner, entries.size]
    }
    if (this.#size < this.#entriesMax) return
    const [oldest] = this.#byOwner.get(most)?.keys() ?? []
    if (oldest !== undefined) this.delete(most, oldest)
  }
}
