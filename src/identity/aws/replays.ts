/**
 * Which address first used a pre-signed request: for as long as the request lives, no other may. Pools open many connections with one, so it
 * is not spent by one use.
 *
 * Rule: bounded, and whoever fills it forgets its own: the principal with most loses its oldest.
 */
export class Replays {
  readonly #entriesMax: number
  /** By principal, oldest first. */
  readonly #byPrincipal = new Map<string, Map<string, { readonly address: string; readonly endMs: number }>>()
  #size = 0

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax
  }

  get size(): number {
    return this.#size
  }

  /** True where `address` may use it: the first, or the same again. */
  use(principal: string, key: string, address: string, endMs: number, nowMs: number): boolean {
    const own = this.#byPrincipal.get(principal) ?? new Map<string, { address: string; endMs: number }>()
    const first = own.get(key)
    if (first !== undefined && first.endMs > nowMs) return first.address === address
    // All live equally long, so that those that are over stand first, or nearly.
    for (const [other, { endMs: end }] of own) {
      if (end > nowMs) break
      own.delete(other)
      this.#size--
    }
    if (own.delete(key)) this.#size--
    if (this.#size >= this.#entriesMax) this.#makeRoom(nowMs)
    own.set(key, { address, endMs })
    this.#byPrincipal.set(principal, own)
    this.#size++
    return true
  }

  #makeRoom(nowMs: number): void {
    let most: Map<string, unknown> | undefined
    for (const [principal, entries] of this.#byPrincipal) {
      for (const [key, { endMs }] of entries) {
        if (endMs > nowMs) break
        entries.delete(key)
        this.#size--
      }
      if (entries.size === 0) this.#byPrincipal.delete(principal)
      else if (most === undefined || entries.size > most.size) most = entries
    }
    if (this.#size < this.#entriesMax) return
    const [oldest] = most?.keys() ?? []
    if (oldest !== undefined && most?.delete(oldest)) this.#size--
  }
}
