/** What one statement weighs: how much more it makes the nodes do than a read or write of one row by its key. */
import type { StatementFacts } from '../../cql/statement/facts.ts'

/** A SELECT without its whole partition key asks every node. */
const scanWeight = 10
/** ALLOW FILTERING reads what it does not answer with. */
const filteringWeight = 5
/** IF takes four rounds between replicas where a write takes one (Paxos). */
const conditionalWeight = 4
/** Statements of a BATCH to several partitions are written to the batch log first. */
export const manyPartitionsWeight = 2

/** No request weighs more, whatever its lists say: what it takes stays a number that can be paid. */
const weightMax = 1_000_000

/** Of a product or sum that may be infinite by now, or no number. */
export function boundedWeight(all: number): number {
  return all <= weightMax ? Math.max(1, all) : weightMax
}

export interface Weight {
  readonly requests: number
  /** Markers of IN lists, counted in the request: their sizes multiply. */
  readonly lists: readonly number[]
}

const plain: Weight = { requests: 1, lists: [] }

/**
 * @param partitionKey of its table; undefined where that is not known
 * @param firstMarker of the statement in the request; undefined where its values are not to be found
 */
export function weightOf(
  facts: StatementFacts,
  partitionKey: readonly string[] | undefined,
  firstMarker: number | undefined = 0,
): Weight {
  let requests = 1
  let lists: number[] | undefined
  for (const { operator, list, values } of facts.restrictions) {
    if (operator !== 'IN') continue
    if (list === undefined) requests *= Math.max(1, values.length)
    else if (firstMarker !== undefined) {
      lists ??= []
      lists.push(firstMarker + list)
    }
  }
  if (facts.verb === 'SELECT') {
    if (scans(facts, partitionKey)) requests *= scanWeight
    if (facts.allowFiltering) requests *= filteringWeight
  }
  if (facts.conditional) requests *= conditionalWeight
  return requests === 1 && lists === undefined ? plain : { requests: boundedWeight(requests), lists: lists ?? [] }
}

/** As for operation SCAN (`refine.ts`), but of a table that is not known as for one whose key is not given. */
function scans({ restrictions }: StatementFacts, partitionKey: readonly string[] | undefined): boolean {
  const isGiven = (column: string | undefined): boolean =>
    restrictions.some(
      ({ operator, token, columns }) =>
        operator !== 'other' && !token && (column === undefined || columns.includes(column)),
    )
  return partitionKey === undefined ? !isGiven(undefined) : !partitionKey.every(isGiven)
}
