/** WHERE: `whereClause` and `relation` of `Parser.g`, and the IF conditions of writes, which look alike and are not. */
import { acceptMarker, type Cursor, column, list, name } from './cursor.ts'
import { columnNames } from './keywords.ts'
import { term, tupleLiteral } from './terms.ts'
import { K, T } from './tokens.ts'

/** `whereClause`, after the word WHERE. */
export function whereClause(cursor: Cursor): void {
  do {
    if (cursor.accept(T.EXPR)) {
      name(cursor)
      cursor.expect(T.COMMA)
      term(cursor)
      cursor.expect(T.PAREN_CLOSE)
    } else relation(cursor)
  } while (cursor.accept(K.AND))
}

function relation(cursor: Cursor): void {
  if (cursor.accept(K.TOKEN)) {
    columns(cursor)
    operator(cursor)
    term(cursor)
    return
  }
  if (cursor.kind === T.PAREN_OPEN) {
    const after = cursor.peek(2)
    if (columnNames[cursor.peek(1)] === 1 && (after === T.PAREN_CLOSE || after === T.COMMA)) {
      columns(cursor)
      if (cursor.accept(K.IN)) tuplesIn(cursor)
      else {
        operator(cursor)
        tupleOrMarker(cursor)
      }
      return
    }
    cursor.enter()
    cursor.advance()
    relation(cursor)
    cursor.expect(T.PAREN_CLOSE)
    cursor.leave()
    return
  }
  column(cursor)
  if (cursor.accept(K.LIKE)) term(cursor)
  else if (cursor.accept(K.IS)) {
    cursor.expect(K.NOT)
    cursor.expect(K.NULL)
  } else if (cursor.accept(K.IN)) valuesIn(cursor)
  else if (cursor.accept(K.CONTAINS)) contained(cursor)
  else if (cursor.accept(T.BRACKET_OPEN)) {
    term(cursor)
    cursor.expect(T.BRACKET_CLOSE)
    operator(cursor)
    term(cursor)
  } else {
    operator(cursor)
    term(cursor)
  }
}

/** `relationType` */
function operator(cursor: Cursor): void {
  switch (cursor.kind) {
    case T.EQUALS:
    case T.NOT_EQUALS:
    case T.LESS:
    case T.LESS_EQUALS:
    case T.GREATER:
    case T.GREATER_EQUALS:
      cursor.advance()
      return
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
function columns(cursor: Cursor): void {
  cursor.expect(T.PAREN_OPEN)
  list(cursor, column)
  cursor.expect(T.PAREN_CLOSE)
}

/** What follows IN for one column: a marker, or values in parentheses, or `()`. */
function valuesIn(cursor: Cursor): void {
  if (acceptMarker(cursor)) return
  cursor.expect(T.PAREN_OPEN)
  if (cursor.accept(T.PAREN_CLOSE)) return
  list(cursor, term)
  cursor.expect(T.PAREN_CLOSE)
}

/** What follows IN for several columns: a marker, `()`, all tuples or all markers. */
function tuplesIn(cursor: Cursor): void {
  if (acceptMarker(cursor)) return
  cursor.expect(T.PAREN_OPEN)
  if (cursor.accept(T.PAREN_CLOSE)) return
  if (cursor.kind === T.PAREN_OPEN) list(cursor, tupleLiteral)
  else list(cursor, marker)
  cursor.expect(T.PAREN_CLOSE)
}

function tupleOrMarker(cursor: Cursor): void {
  if (!acceptMarker(cursor)) tupleLiteral(cursor)
}

function marker(cursor: Cursor): void {
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
  if (cursor.accept(K.IN)) valuesIn(cursor)
  else {
    operator(cursor)
    term(cursor)
  }
}
