/** What a permit asks of the values of one request, asked of them. */
import type { BatchView } from '../cql/requests.ts'
import { checkRequest, productOf } from '../policy/data/check.ts'
import { partitionLists } from '../policy/data/guardrails.ts'
import type { Denial, Permit } from '../policy/engine.ts'
import { BoundValues } from './bound.ts'
import type { IdentityState, Judge, Judged } from './judged.ts'

const values = new BoundValues()
/** `FBUtilities.MAX_UNSIGNED_SHORT`: Cassandra takes no longer partition key. */
const keyBytesMax = 65_535

/** The permit, the permit with what was observed, or the refusal. Makes no object when all is well. */
export function checked(judge: Judge, identity: IdentityState, permit: Permit, bound: BoundValues): Permit | Denial {
  const { obligations } = permit
  if (obligations !== undefined && obligations.checks.length > 0 && bound.unresolved) {
    const text = 'values that are given by name need markers with names (:name), for policy looks at them'
    return judge.refusal(identity, 'unresolved-markers', text)
  }
  const { denial, observed } = checkRequest(obligations?.checks, bound)
  if (denial !== undefined) return judge.refusal(identity, denial.rule, denial.text)
  return observed === undefined ? permit : permit.observing(observed)
}

/** Counts the partitions that a BATCH message writes to, when it is first asked. */
export class Partitions {
  readonly #judge: Judge
  readonly #parts: readonly Judged[]
  readonly #batch: BatchView
  #count: number | undefined
  readonly #known = new Set<string>()
  #others = 0
  #counted = 0

  constructor(judge: Judge, parts: readonly Judged[], batch: BatchView) {
    this.#judge = judge
    this.#parts = parts
    this.#batch = batch
  }

  /** A statement whose partition is not known counts as one of its own, one with IN as all that its lists make. */
  get count(): number {
    while (!this.countSome(this.#parts.length));
    return this.#count!
  }

  /** Counts those of some further statements; true when all are counted. */
  countSome(parts: number): boolean {
    const until = Math.min(this.#counted + parts, this.#parts.length)
    for (; this.#counted < until; this.#counted++) {
      const at = this.#counted
      const { facts } = this.#parts[at]!
      const { times, markers } = partitionLists(facts, this.#judge.partitionKey(facts))
      const name = times === 1 && markers.length === 0 ? this.#nameOf(this.#parts[at]!, at) : undefined
      if (name !== undefined) this.#known.add(name)
      else this.#others += times * productOf(values.ofPart(this.#batch, this.#batch.parts[at]!, facts.markers), markers)
    }
    if (this.#counted < this.#parts.length) return false
    this.#count ??= this.#known.size + this.#others
    return true
  }

  #nameOf({ facts }: Judged, index: number): string | undefined {
    const key = this.#judge.partitionKey(facts)
    if (key === undefined) return undefined
    const bound = values.ofPart(this.#batch, this.#batch.parts[index]!, facts.markers)
    let name = JSON.stringify([facts.keyspace, facts.table])
    for (const column of key) {
      const restriction = facts.restrictions.find(
        ({ columns, operator, token }) => operator === '=' && !token && columns.length === 1 && columns[0] === column,
      )
      const value = restriction?.values[0]
      if (value === undefined) return undefined
      const bytes = 'text' in value ? Buffer.from(value.text) : bound.bytes(value.marker)
      // No key is so long, and the node refuses it.
      if (bytes !== null && bytes.length > keyBytesMax) return undefined
      name += `:${bytes?.toString('hex')}`
    }
    return name
  }
}
