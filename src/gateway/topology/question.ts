/**
 * Which statements ask about the ring, and what such a statement is.
 *
 * Every text falls into one of three: not about these tables (`aboutTopology` is undefined: goes on to a sidecar), answered here (`readQuestion`),
 * or refused as a node would. Invariant: no text that Cassandra reads as a SELECT of these tables is the first. FROM is a reserved word, so the
 * first one outside quotes and comments is the FROM clause, whatever stands before it.
 */
import { RingfenceError } from '../../base/errors.ts'
import { anyValues } from '../../cql/query/markers.ts'
import { type Plan, planOf } from '../../cql/query/plan.ts'
import { readSelect } from '../../cql/query/read.ts'
import { stampsOf } from '../../cql/query/stamps.ts'
import type { SelectTree } from '../../cql/query/tree.ts'
import { names } from '../../cql/statement/keywords.ts'
import { lex, type Tokens } from '../../cql/statement/lexer.ts'
import { K, T } from '../../cql/statement/tokens.ts'
import { isSystemTable, type SystemTable, systemColumns } from './columns.ts'
import { shapeFor } from './rows.ts'

/** No tool asks at such length; what is longer goes to a sidecar, which refuses it if it is about these tables. */
const questionCharactersMax = 4096

/** Cheap where the tables are not named at all, exact where they are. `keyspaceInForce` decides what an unqualified table means. */
export function aboutTopology(text: string, keyspaceInForce: string): SystemTable | undefined {
  // A table's name is one token, so a text without these letters in a row cannot name one.
  if (text.length > questionCharactersMax || !/local|peers/i.test(text)) return undefined
  const tokens = lexOrNothing(text)
  if (tokens === undefined || tokens.kinds[0] !== K.SELECT) return undefined
  const from = tokens.kinds.indexOf(K.FROM)
  if (from < 0) return undefined
  const qualified = tokens.kinds[from + 2] === T.DOT
  const keyspace = qualified ? nameAt(tokens, from + 1) : keyspaceInForce
  const table = nameAt(tokens, qualified ? from + 3 : from + 1)
  return keyspace === 'system' && isSystemTable(table) ? table : undefined
}

/** What does not lex is not a statement; the sidecar, which has the same lexer, says so with a position. */
function lexOrNothing(text: string): Tokens | undefined {
  try {
    return lex(text)
  } catch (error) {
    if (error instanceof RingfenceError) return undefined
    throw error
  }
}

/** The canonical name that stands at `at`; `undefined` where no name stands. */
function nameAt({ text, kinds, starts, ends }: Tokens, at: number): string | undefined {
  const kind = kinds[at]
  if (kind === undefined || names[kind] !== 1) return undefined
  if (kind === T.QUOTED_NAME) return text.slice(starts[at]! + 1, ends[at]! - 1).replaceAll('""', '"')
  return text.slice(starts[at], ends[at]).toLowerCase()
}

/**
 * Whether a question that is not answered here shows what the nodes would say of themselves: then its sidecar refuses it, and the client is
 * told why it is not answered. `text` must be one that `aboutTopology` finds to be about `table`.
 */
export function readsColumns(text: string, table: SystemTable): boolean {
  const tokens = lex(text)
  const word = tokens.kinds[1]
  const first = word === K.JSON || word === K.DISTINCT ? 2 : 1
  if (tokens.kinds[first] === T.STAR) return true
  const columns = new Set(systemColumns[table].flatMap(({ name, role }) => (role === 'partition' ? [] : [name])))
  for (let at = 1; at < tokens.count; at++) {
    const name = nameAt(tokens, at)
    if (name !== undefined && columns.has(name) && tokens.kinds[at + 1] !== T.PAREN_OPEN) return true
  }
  return false
}

export interface Question {
  readonly table: SystemTable
  readonly tree: SelectTree
  /** It looks at when a column was written, or for how long. */
  readonly stamped: boolean
  /** Made without its values: what PREPARE tells, and that it may be asked so. */
  readonly form: Plan
}

/** @throws RingfenceError SYNTAX or INVALID for what a node would refuse; `Unsupported` for what is not done here */
export function readQuestion(text: string, table: SystemTable, clock: () => number): Question {
  const tree = readSelect(text)
  const stamped = stampsOf(tree).length > 0
  return { table, tree, stamped, form: planOf(tree, shapeFor(table, stamped), anyValues, clock) }
}
