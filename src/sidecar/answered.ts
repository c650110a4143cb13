/**
 * What an answer with whole rows shows, by its own words. The schema is read after the node changed it, so an answer may have a column that
 * was added a moment ago and that nobody here knows. Policy is asked about that column then.
 */

import { RingfenceError } from '../base/errors.ts'
import { readRowsLayout } from '../cql/answers/rows.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'

export interface AnsweredColumns {
  readonly keyspace: string
  readonly table: string
  readonly columns: readonly string[]
}

const sets = new WeakMap<readonly string[], ReadonlySet<string>>()

/**
 * The columns of the answer, where one of them is not `known`; undefined where all are.
 * @param known as they were when the permit was given
 * @throws RingfenceError UPSTREAM where the answer does not say its columns
 */
export function unknownColumns(
  facts: StatementFacts,
  known: readonly string[],
  answer: Buffer,
  version: ProtocolVersion,
): AnsweredColumns | undefined {
  const place = readRowsLayout(wholeEnvelope(answer), version)
  const [first] = place.columns ?? []
  if (place.columns === undefined || first === undefined) {
    throw new RingfenceError('UPSTREAM', 'an answer whose columns policy tells apart came without them')
  }
  const isJson = facts.verb === 'SELECT' && facts.selection === undefined
  let names = place.columns.map(({ name }) => name)
  if (isJson) names = place.rowCount === 0 ? [] : keysOf(answer, place.rowsAt)
  else if (facts.conditional && names[0] === '[applied]') names = names.slice(1)
  let set = sets.get(known)
  if (set === undefined) {
    set = new Set(known)
    sets.set(known, set)
  }
  if (names.every((name) => set.has(name))) return undefined
  return { keyspace: first.keyspace, table: first.table, columns: names }
}

/** Rows as JSON have the same keys each: the columns' names, in quotes where CQL would quote them. */
function keysOf(answer: Buffer, rowAt: number): string[] {
  const bytes = answer.readInt32BE(rowAt)
  let row: unknown
  try {
    row = JSON.parse(answer.toString('utf8', rowAt + 4, rowAt + 4 + Math.max(0, bytes)))
  } catch {
    throw new RingfenceError('UPSTREAM', 'an answer whose columns policy tells apart is no JSON')
  }
  return Object.keys(row as object).map((key) => (key.startsWith('"') ? key.slice(1, -1).replaceAll('""', '"') : key))
}
