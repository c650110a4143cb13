/** WHERE: `whereClause` and `relation` of `Parser.g`, and the IF conditions of writes, which look alike and are not. */
import { acceptMarker, type Cursor, collect, column, name, nextMarker } from './cursor.ts'
import type { RestrictingValue, Restriction } from './facts.ts'
import { columnNames } from './keywords.ts'
import { term, tupleLiteral, tupleValues, value } from './terms.ts'
import { K, T } from './tokens.ts'

/** `whereClause`, after the word WHERE: its relations in order. */
export function whereClause(cursor: Cursor): Restriction[] {
  const restrictions: Restriction[] = []
  do {
    cursor.spend(1)
    if (cursor.accept(T.EXPR)) {
      name(cursor)
      cursor.expect(T.COMMA)
      term(cursor)
      cursor.expect(T.PAREN_CLOSE)
      restrictions.push(restriction([], 'other', []))
    } else restrictions.push(relation(cursor))
  } while (cursor.accept(K.AND))
  return restrictions
}

function relation(cursor: Cursor): Restriction {
  if (cursor.accept(K.TOKEN)) {
    const tokenOf = columns(cursor)
    return { ...restriction(tokenOf, operator(cursor), [value(cursor)]), token: true }
  }
  if (cursor.kind === T.PAREN_OPEN) {
    const after = cursor.peek(2)
    if (columnNames[cursor.peek(1)] === 1 && (after === T.PAREN_CLOSE || after === T.COMMA)) {
      const compared = columns(cursor)
      if (cursor.accept(K.IN)) return tuplesIn(cursor, compared)
      return restriction(compared, operator(cursor), tupleOrMarker(cursor, compared.length))
    }
    cursor.enter()
    cursor.advance()
    const inside = relation(cursor)
    cursor.expect(T.PAREN_CLOSE)
    cursor.leave()
    return inside
  }
  const compared = [column(cursor)]
  if (cursor.accept(K.LIKE)) return restriction(compared, 'other', [value(cursor)])
  if (cursor.accept(K.IS)) {
    cursor.expect(K.NOT)
    cursor.expect(K.NULL)
    return restriction(compared, 'other', [])
  }
  if (cursor.accept(K.IN)) return valuesIn(cursor, compared)
  if (cursor.accept(K.CONTAINS)) {
    contained(cursor)
    return restriction(compared, 'other', [undefined])
  }
  if (cursor.accept(T.BRACKET_OPEN)) {
    // An element of the column restricts no more than that.
    term(cursor)
    cursor.expect(T.BRACKET_CLOSE)
    operator(cursor)
    return restriction(compared, 'other', [value(cursor)])
  }
  return restriction(compared, operator(cursor), [value(cursor)])
}

function restriction(
  columns: readonly string[],
  operator: Restriction['operator'],
  values: Restriction['values'],
  list?: number,
): Restriction {
  return { columns, operator, token: false, values, list }
}

/** `relationType` */
function operator(cursor: Cursor): '=' | 'other' {
  switch (cursor.kind) {
    case T.EQUALS:
      cursor.advance()
      return '='
    case T.NOT_EQUALS:
    case T.LESS:
    case T.LESS_EQUALS:
    case T.GREATER:
    case T.GREATER_EQUALS:
      cursor.advance()
      return 'other'
    default:
      throw cursor.unexpected()
  }
}

/** What follows CONTAINS. */
function contained(cursor: Cursor): void {
  // `CONTAINS key.f(1)` calls a function of the keyspace key.
  if (cursor.peek(1) !== T.DOT) cursor.accept(K.KEY)
  term(cursor)
}

/** `tupleOfIdentifiers` */
function columns(cursor: Cursor): string[] {
  cursor.expect(T.PAREN_OPEN)
  const named = collect(cursor, column)
  cursor.expect(T.PAREN_CLOSE)
  return named
}

/** What follows IN for one column: a marker, or values in parentheses, or `()`. */
function valuesIn(cursor: Cursor, compared: readonly string[]): Restriction {
  const place = nextMarker(cursor)
  if (acceptMarker(cursor)) return restriction(compared, 'IN', [], place)
  if (cursor.peek(1) !== T.PAREN_CLOSE) return restriction(compared, 'IN', tupleValues(cursor))
  cursor.expect(T.PAREN_OPEN)
  cursor.advance()
  return restriction(compared, 'IN', [])
}

/** What follows IN for several columns: a marker, `()`, all tuples or all markers; a value for each tuple. */
function tuplesIn(cursor: Cursor, compared: readonly string[]): Restriction {
  const place = nextMarker(cursor)
  if (acceptMarker(cursor)) return restriction(compared, 'IN', [], place)
  cursor.expect(T.PAREN_OPEN)
  if (cursor.accept(T.PAREN_CLOSE)) return restriction(compared, 'IN', [])
  const values = collect(cursor, cursor.kind === T.PAREN_OPEN ? tupleLiteral : marker)
  cursor.expect(T.PAREN_CLOSE)
  return restriction(compared, 'IN', values)
}

/** A marker here stands for the tuple, not for the value of a column. */
function tupleOrMarker(cursor: Cursor, columnCount: number): RestrictingValue[] {
  return acceptMarker(cursor) ? new Array<undefined>(columnCount).fill(undefined) : tupleValues(cursor)
}

function marker(cursor: Cursor): undefined {
  if (!acceptMarker(cursor)) throw cursor.unexpected()
}

/** `updateConditions`: what follows IF, other than EXISTS. */
export function conditions(cursor: Cursor): void {
  do condition(cursor)
  while (cursor.accept(K.AND))
}

function condition(cursor: Cursor): void {
  column(cursor)
  if (cursor.accept(K.CONTAINS)) {
    contained(cursor)
    return
  }
  if (cursor.accept(T.BRACKET_OPEN)) {
    term(cursor)
    cursor.expect(T.BRACKET_CLOSE)
  } else if (cursor.accept(T.DOT)) name(cursor)
  if (cursor.accept(K.IN)) valuesIn(cursor, [])
  else {
    operator(cursor)
    term(cursor)
  }
}
