/**
 * Name patterns: an exact canonical name, `*`, or a beginning followed by `*`.
 */

/** Keyspaces that a wildcard never includes (CVE-2025-23015). In any case of letters, so that no look-alike slips in. */
export function isSystemKeyspace(keyspace: string): boolean {
  return /^system/i.test(keyspace)
}

/** Whether one pattern includes a name. A name such as `__proto__` is an ordinary name. */
export function matchesName(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name
}

/** Whether a rule's keyspace patterns include a keyspace. Not resolved matches nothing, and no wildcard includes a system keyspace. */
export function matchesKeyspace(patterns: readonly string[], keyspace: string | undefined): boolean {
  if (keyspace === undefined) return false
  const wildcards = !isSystemKeyspace(keyspace)
  return patterns.some((pattern) => (wildcards || !pattern.endsWith('*')) && matchesName(pattern, keyspace))
}

/** Whether a list of patterns includes a name; no list includes every one. */
export function matchesAnyName(patterns: readonly string[] | undefined, name: string): boolean {
  return patterns?.some((pattern) => matchesName(pattern, name)) ?? true
}

/**
 * Names that the patterns do not distinguish are of one class. A name that is written in full has a class of its own. Others have the class
 * of the longest beginning that fits, because all shorter ones that fit are beginnings of it.
 */
export class NameClasses {
  readonly #exact = new Set<string>()
  readonly #beginnings = new Set<string>()
  /** Lengths that beginnings have. A name is cut to each of them, so that a class costs the same however many beginnings there are. */
  #lengths: readonly number[] | undefined

  add(patterns: Iterable<string>): void {
    for (const pattern of patterns) {
      if (pattern.endsWith('*')) this.#beginnings.add(pattern.slice(0, -1))
      else this.#exact.add(pattern)
    }
    this.#lengths = undefined
  }

  /** Begins with `=` for a name of its own, with `~` for others. */
  of(name: string): string {
    if (this.#exact.has(name)) return `=${name}`
    const beginning = this.#beginningOf(name)
    return beginning === undefined ? '~' : `~${beginning}*`
  }

  /** Whether one of the patterns includes the name. */
  has(name: string): boolean {
    return this.#exact.has(name) || this.#beginningOf(name) !== undefined
  }

  #beginningOf(name: string): string | undefined {
    this.#lengths ??= [...new Set(Array.from(this.#beginnings, ({ length }) => length))].sort((a, b) => b - a)
    for (const length of this.#lengths) {
      if (length > name.length) continue
      const beginning = name.slice(0, length)
      if (this.#beginnings.has(beginning)) return beginning
    }
    return undefined
  }
}
