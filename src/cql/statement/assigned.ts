/** What a term can write, as far as its tokens say it: the difference between a value and none is that between writing and deleting. */
import { type Cursor, nameOf, nextMarker } from './cursor.ts'
import type { AssignedValue } from './facts.ts'
import { constants } from './keywords.ts'
import { term } from './terms.ts'
import { K, T } from './tokens.ts'

/** Native functions without arguments: none gives null. */
const generators: ReadonlySet<string> = new Set(
  `now uuid current_timestamp current_date current_time current_timeuuid currenttimestamp currentdate currenttime
  currenttimeuuid`.split(/\s+/),
)
/** Native functions that give null for null only. */
const conversions: ReadonlySet<string> = new Set(
  'to_date to_timestamp to_unix_timestamp todate totimestamp tounixtimestamp'.split(' '),
)

/** Reads a term, or by another rule one that has terms in it. */
export function assigned<Read>(cursor: Cursor, read: (cursor: Cursor) => Read): { value: AssignedValue; read: Read } {
  const { at } = cursor
  const marker = nextMarker(cursor)
  const done = read(cursor)
  return { value: writtenBy(cursor, at, cursor.at, marker), read: done }
}

export function assignedTerm(cursor: Cursor): AssignedValue {
  return assigned(cursor, term).value
}

/** `marker` is the place of the first marker among the tokens. */
function writtenBy(cursor: Cursor, from: number, to: number, marker: number): AssignedValue {
  const { kinds } = cursor.tokens
  const kind = kinds[from]!
  const tokens = to - from
  if ((kind === T.QMARK && tokens === 1) || (kind === T.COLON && tokens === 2)) return { marker }
  if (tokens === 1) return constants[kind] === 1 ? 'value' : kind === K.NULL ? 'null' : 'unknown'
  if (tokens === 2 && kind === T.MINUS && constants[kinds[from + 1]!] === 1) return 'value'
  if (kind === T.PAREN_OPEN) return parenthesised(cursor, from, to, marker)
  if (kind === T.BRACE_OPEN || kind === T.BRACKET_OPEN) {
    return closing(cursor, from) === to - 1 ? 'collection' : 'unknown'
  }
  return isGenerated(cursor, from, to) ? 'value' : 'unknown'
}

/** A tuple is one value. Of one element it may be no tuple but that very term (`Tuples.Literal.prepare`): `v = (null)`. */
function parenthesised(cursor: Cursor, from: number, to: number, marker: number): AssignedValue {
  if (closing(cursor, from) !== to - 1) return 'unknown'
  return hasComma(cursor, from, to) ? 'value' : writtenBy(cursor, from + 1, to - 1, marker)
}

function hasComma({ tokens: { kinds } }: Cursor, from: number, to: number): boolean {
  let depth = 0
  for (let at = from; at < to; at += 1) {
    depth += turn(kinds[at]!)
    if (depth === 1 && kinds[at] === T.COMMA) return true
  }
  return false
}

/** The bracket that closes the one at `from`. */
function closing({ tokens: { kinds, count } }: Cursor, from: number): number {
  let depth = 0
  for (let at = from; at < count; at += 1) {
    depth += turn(kinds[at]!)
    if (depth === 0) return at
  }
  return -1
}

function turn(kind: number): number {
  switch (kind) {
    case T.PAREN_OPEN:
    case T.BRACE_OPEN:
    case T.BRACKET_OPEN:
      return 1
    case T.PAREN_CLOSE:
    case T.BRACE_CLOSE:
    case T.BRACKET_CLOSE:
      return -1
    default:
      return 0
  }
}

/** `now()` or `to_timestamp(now())`. */
function isGenerated(cursor: Cursor, from: number, to: number): boolean {
  const { kinds } = cursor.tokens
  const isName = (at: number, names: ReadonlySet<string>): boolean => names.has(nameOf(cursor, at))
  if (kinds[from + 1] !== T.PAREN_OPEN) return false
  if (to - from === 3) return isName(from, generators)
  return (
    to - from === 6 && kinds[from + 3] === T.PAREN_OPEN && isName(from, conversions) && isName(from + 2, generators)
  )
}
