/**
 * Rules by the names that they apply to, so that a question about one name looks at a few rules and not at the whole policy. DESCRIBE and
 * drivers ask about thousands of tables, name by name, under policies of thousands of rules.
 */
import type { Resource } from '../cql/statement/facts.ts'
import type { CompiledRule } from './policy.ts'

/** Rules by what they may speak of. */
export class RulesByName {
  readonly #keyspaces = new RuleIndex(({ keyspaces }) => keyspaces)
  readonly #tables = new RuleIndex(({ tables }) => tables ?? everyName)
  readonly #functionKeyspaces = new RuleIndex(({ functions }) => functions.map(({ keyspace }) => keyspace))
  readonly #functions = new RuleIndex(({ functions }) => functions.map(({ name }) => name))

  /** In the order of the policy. */
  add(rule: CompiledRule): void {
    for (const index of [this.#keyspaces, this.#tables, this.#functionKeyspaces, this.#functions]) index.add(rule)
  }

  /** All rules that may speak of it or of something in it, and others; some may be there twice. */
  about(resource: Resource): readonly CompiledRule[] {
    const keyspace = 'keyspace' in resource ? (resource.keyspace ?? '') : ''
    switch (resource.kind) {
      case 'table':
        return fewest(this.#keyspaces.about(keyspace), this.#tables.about(resource.table))
      case 'function':
        return fewest(this.#functionKeyspaces.about(keyspace), this.#functions.about(resource.name))
      default:
        return [...this.#keyspaces.about(keyspace), ...this.#functionKeyspaces.about(keyspace)].flat()
    }
  }
}

const everyName: readonly string[] = ['*']
const none: readonly CompiledRule[] = []

export class RuleIndex {
  readonly #patternsOf: (rule: CompiledRule) => readonly string[]
  readonly #exact = new Map<string, CompiledRule[]>()
  readonly #beginnings = new Map<string, CompiledRule[]>()
  /** Lengths that beginnings have. */
  readonly #lengths = new Set<number>()

  /** @param patternsOf name patterns of a rule */
  constructor(patternsOf: (rule: CompiledRule) => readonly string[]) {
    this.#patternsOf = patternsOf
  }

  add(rule: CompiledRule): void {
    for (const pattern of this.#patternsOf(rule)) {
      const isBeginning = pattern.endsWith('*')
      const name = isBeginning ? pattern.slice(0, -1) : pattern
      if (isBeginning) this.#lengths.add(name.length)
      const map = isBeginning ? this.#beginnings : this.#exact
      const others = map.get(name)
      if (others === undefined) map.set(name, [rule])
      else if (others.at(-1) !== rule) others.push(rule)
    }
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
function fewest(
  first: readonly (readonly CompiledRule[])[],
  second: readonly (readonly CompiledRule[])[],
): readonly CompiledRule[] {
  const chosen = countOf(first) <= countOf(second) ? first : second
  return chosen.length === 1 ? chosen[0]! : chosen.flat()
}

function countOf(lists: readonly (readonly CompiledRule[])[]): number {
  return lists.reduce((sum, { length }) => sum + length, 0)
}
