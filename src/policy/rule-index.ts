/**
 * Rules by the names that they apply to, so that a question about one name looks at a few rules and not at the whole policy. DESCRIBE and
 * drivers ask about thousands of tables, name by name, under policies of thousands of rules.
 */
import type { CompiledRule } from './policy.ts'

const none: readonly CompiledRule[] = []

export class RuleIndex {
  readonly #exact = new Map<string, CompiledRule[]>()
  readonly #beginnings = new Map<string, CompiledRule[]>()
  /** Lengths that beginnings have. */
  readonly #lengths: readonly number[]

  /** @param patternsOf name patterns of a rule; undefined where it speaks of every name */
  constructor(rules: readonly CompiledRule[], patternsOf: (rule: CompiledRule) => readonly string[] | undefined) {
    for (const rule of rules) {
      for (const pattern of new Set(patternsOf(rule) ?? ['*'])) {
        const isBeginning = pattern.endsWith('*')
        const [map, name] = isBeginning ? [this.#beginnings, pattern.slice(0, -1)] : [this.#exact, pattern]
        const others = map.get(name)
        if (others === undefined) map.set(name, [rule])
        else others.push(rule)
      }
    }
    this.#lengths = [...new Set(Array.from(this.#beginnings.keys(), ({ length }) => length))]
  }

  /** Lists of rules, among which are all that have a pattern that includes the name; some may be in several. */
  about(name: string): readonly (readonly CompiledRule[])[] {
    const lists = [this.#exact.get(name) ?? none]
    for (const length of this.#lengths) {
      const list = length > name.length ? undefined : this.#beginnings.get(name.slice(0, length))
      if (list !== undefined) lists.push(list)
    }
    return lists
  }
}

/** The rules of the index that has fewer of them. */
export function fewest(
  first: readonly (readonly CompiledRule[])[],
  second: readonly (readonly CompiledRule[])[],
): readonly CompiledRule[] {
  const chosen = countOf(first) <= countOf(second) ? first : second
  return chosen.length === 1 ? chosen[0]! : chosen.flat()
}

function countOf(lists: readonly (readonly CompiledRule[])[]): number {
  return lists.reduce((sum, { length }) => sum + length, 0)
}
