/**
 * Values filed under name patterns, so that a look-up costs the length of the name and not the number of patterns.
 */

/** Patterns are exact names, `*`, or a beginning followed by `*`. Map keys only: a name such as `__proto__` is an ordinary name. */
export class NameIndex<T> {
  readonly #exact = new Map<string, T>()
  readonly #prefixes = new Map<string, T>()
  /** Lengths of the beginnings held, each once. */
  readonly #lengths: number[] = []
  readonly #create: () => T

  constructor(create: () => T) {
    this.#create = create
  }

  /** The value filed under exactly this pattern; made when there is none. */
  at(pattern: string): T {
    const wild = pattern.endsWith('*')
    const key = wild ? pattern.slice(0, -1) : pattern
    const held = wild ? this.#prefixes : this.#exact
    let value = held.get(key)
    if (value === undefined) {
      value = this.#create()
      held.set(key, value)
      if (wild && !this.#lengths.includes(key.length)) this.#lengths.push(key.length)
    }
    return value
  }

  /** Calls `visit` for each value whose pattern matches. `wildcards` false passes over all but the exact name. */
  match(name: string, wildcards: boolean, visit: (value: T) => void): void {
    const exact = this.#exact.get(name)
    if (exact !== undefined) visit(exact)
    if (!wildcards) return
    for (const length of this.#lengths) {
      if (length > name.length) continue
      const value = this.#prefixes.get(name.slice(0, length))
      if (value !== undefined) visit(value)
    }
  }
}

/** The same question for one pattern. */
export function matchesName(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name
}
