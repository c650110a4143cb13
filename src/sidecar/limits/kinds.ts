/**
 * The statements of a BATCH by kind, and what those of each weigh. It is counted once for all limits, and some at a time, for there may be tens of
 * thousands.
 */
import type { StatementFacts } from '../../cql/statement/facts.ts'
import { weightOf } from '../../policy/limits/weight.ts'

/** Different statements that are looked at; further ones count for every limit of who asks. */
const kindsMax = 1000

/** Equal statements, by their facts. */
export interface BatchKind {
  /** Undefined for all beyond those that are looked at. */
  readonly child: StatementFacts | undefined
  /** Added up. */
  requests: number
  statements: number
  readonly lists: number[]
}

export type PartitionKeyOf = (facts: StatementFacts) => readonly string[] | undefined

export class BatchKinds {
  readonly #children: readonly StatementFacts[]
  readonly #partitionKey: PartitionKeyOf
  readonly #known = new Map<StatementFacts, BatchKind>()
  /** Of the children of a message, which have no markers in the request. */
  readonly #weights = new Map<StatementFacts, number>()
  readonly #others: BatchKind = { child: undefined, requests: 0, statements: 0, lists: [] }
  /** The place of the next one's first marker; undefined in a message, where markers belong to its statements and partitions are counted. */
  #firstMarker: number | undefined
  #counted = 0

  constructor({ children, markers }: StatementFacts, partitionKey: PartitionKeyOf) {
    this.#children = children
    this.#partitionKey = partitionKey
    let childMarkers = 0
    for (const child of children) childMarkers += child.markers.length
    if (markers.length >= childMarkers) this.#firstMarker = markers.length - childMarkers
  }

  get all(): readonly BatchKind[] {
    while (!this.countSome(this.#children.length));
    const kinds = [...this.#known.values()]
    return this.#others.statements === 0 ? kinds : [...kinds, this.#others]
  }

  /** Counts some further statements; true when all are counted. */
  countSome(statements: number): boolean {
    const until = Math.min(this.#counted + statements, this.#children.length)
    for (; this.#counted < until; this.#counted++) this.#count(this.#children[this.#counted]!)
    return this.#counted >= this.#children.length
  }

  #count(child: StatementFacts): void {
    const kind = this.#kindOf(child)
    kind.statements++
    const known = this.#firstMarker === undefined ? this.#weights.get(child) : undefined
    if (known !== undefined) {
      kind.requests += known
      return
    }
    const { requests, lists } = weightOf(child, this.#partitionKey(child), this.#firstMarker)
    kind.requests += requests
    for (const list of lists) kind.lists.push(list)
    if (this.#firstMarker === undefined) this.#weights.set(child, requests)
    else this.#firstMarker += child.markers.length
  }

  #kindOf(child: StatementFacts): BatchKind {
    const known = this.#known.get(child)
    if (known !== undefined) return known
    if (this.#known.size >= kindsMax) return this.#others
    const made: BatchKind = { child, requests: 0, statements: 0, lists: [] }
    this.#known.set(child, made)
    return made
  }
}
