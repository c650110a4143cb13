/** INSERT, UPDATE, DELETE and BATCH texts: the modification rules of `Parser.g`. */
import type { Modification, QualifiedName } from './ast.ts'
import {
  acceptMarker,
  type Cursor,
  column,
  integerOrMarker,
  list,
  type Mark,
  name,
  qualifiedName,
  startsCall,
} from './cursor.ts'
import { columnNames } from './keywords.ts'
import { term } from './terms.ts'
import { K, T } from './tokens.ts'
import { conditions, whereClause } from './where.ts'

/** `batchStatementObjective`: one write, at its first word. */
export function modification(cursor: Cursor): Modification {
  const mark = cursor.mark()
  if (cursor.accept(K.INSERT)) return insertStatement(cursor, mark)
  if (cursor.accept(K.UPDATE)) return updateStatement(cursor, mark)
  cursor.expect(K.DELETE)
  return deleteStatement(cursor, mark)
}

/** `batchStatement`, after the word BEGIN. */
export function batchStatement(cursor: Cursor): Modification[] {
  if (!cursor.accept(K.UNLOGGED)) cursor.accept(K.COUNTER)
  cursor.expect(K.BATCH)
  usingClause(cursor)
  const children: Modification[] = []
  while (cursor.kind === K.INSERT || cursor.kind === K.UPDATE || cursor.kind === K.DELETE) {
    children.push(modification(cursor))
    cursor.accept(T.SEMICOLON)
  }
  cursor.expect(K.APPLY)
  cursor.expect(K.BATCH)
  return children
}

function insertStatement(cursor: Cursor, mark: Mark): Modification {
  cursor.expect(K.INTO)
  const table = qualifiedName(cursor)
  const wildcard = cursor.accept(K.JSON)
  if (wildcard) {
    if (!cursor.accept(T.STRING) && !acceptMarker(cursor)) throw cursor.unexpected()
    if (cursor.accept(K.DEFAULT) && !cursor.accept(K.NULL)) cursor.expect(K.UNSET)
  } else {
    cursor.expect(T.PAREN_OPEN)
    list(cursor, column)
    cursor.expect(T.PAREN_CLOSE)
    cursor.expect(K.VALUES)
    cursor.expect(T.PAREN_OPEN)
    list(cursor, term)
    cursor.expect(T.PAREN_CLOSE)
  }
  let conditional = false
  if (cursor.accept(K.IF)) {
    cursor.expect(K.NOT)
    cursor.expect(K.EXISTS)
    conditional = true
  }
  usingClause(cursor)
  return finish(cursor, mark, 'INSERT', table, wildcard, conditional ? 'rows' : undefined)
}

function updateStatement(cursor: Cursor, mark: Mark): Modification {
  const table = qualifiedName(cursor)
  usingClause(cursor)
  cursor.expect(K.SET)
  const assigned: Assigned = { whole: new Set(), parts: new Set() }
  do assignment(cursor, assigned)
  while (cursor.accept(T.COMMA))
  cursor.expect(K.WHERE)
  whereClause(cursor)
  return finish(cursor, mark, 'UPDATE', table, false, condition(cursor))
}

function deleteStatement(cursor: Cursor, mark: Mark): Modification {
  const wildcard = cursor.kind === K.FROM
  if (!wildcard) list(cursor, deletion)
  cursor.expect(K.FROM)
  const table = qualifiedName(cursor)
  if (cursor.accept(K.USING)) {
    cursor.expect(K.TIMESTAMP)
    integerOrMarker(cursor)
  }
  cursor.expect(K.WHERE)
  whereClause(cursor)
  return finish(cursor, mark, 'DELETE', table, wildcard, condition(cursor))
}

/** `deleteOp` */
function deletion(cursor: Cursor): void {
  column(cursor)
  if (cursor.accept(T.BRACKET_OPEN)) {
    term(cursor)
    cursor.expect(T.BRACKET_CLOSE)
  } else if (cursor.accept(T.DOT)) name(cursor)
}

/** `usingClause`, if there is one. */
function usingClause(cursor: Cursor): void {
  if (!cursor.accept(K.USING)) return
  do {
    if (!cursor.accept(K.TIMESTAMP)) cursor.expect(K.TTL)
    integerOrMarker(cursor)
  } while (cursor.accept(K.AND))
}

/** `(IF (EXISTS | conditions))?` */
function condition(cursor: Cursor): Modification['condition'] {
  if (!cursor.accept(K.IF)) return undefined
  // EXISTS is a name as well: `IF exists = 3`.
  if (cursor.kind === K.EXISTS && !continuesCondition(cursor.peek(1))) {
    cursor.advance()
    return 'rows'
  }
  const mark = cursor.mark()
  conditions(cursor)
  return { columns: cursor.columns.slice(mark.columns) }
}

function continuesCondition(kind: number): boolean {
  switch (kind) {
    case T.EQUALS:
    case T.NOT_EQUALS:
    case T.LESS:
    case T.LESS_EQUALS:
    case T.GREATER:
    case T.GREATER_EQUALS:
    case T.BRACKET_OPEN:
    case T.DOT:
    case K.IN:
    case K.CONTAINS:
      return true
    default:
      return false
  }
}

// --- assignments ---------------------------------------------------------------------------------------------------------

interface Assigned {
  readonly whole: Set<string>
  readonly parts: Set<string>
}

/** `columnOperation` */
function assignment(cursor: Cursor, assigned: Assigned): void {
  const key = column(cursor)
  let whole = false
  switch (cursor.kind) {
    case T.EQUALS:
      cursor.advance()
      whole = assignedValue(cursor, key)
      break
    case T.PLUS_EQUALS:
    case T.MINUS_EQUALS:
      cursor.advance()
      term(cursor)
      break
    case T.BRACKET_OPEN:
      cursor.advance()
      term(cursor)
      cursor.expect(T.BRACKET_CLOSE)
      cursor.expect(T.EQUALS)
      term(cursor)
      break
    case T.DOT:
      cursor.advance()
      name(cursor)
      cursor.expect(T.EQUALS)
      term(cursor)
      break
    default:
      throw cursor.unexpected()
  }
  // `addRawUpdate`: a column that is set as a whole may be set only once.
  if (assigned.whole.has(key) || (whole && assigned.parts.has(key))) {
    throw cursor.failure('multiple incompatible setting of a column')
  }
  if (whole) assigned.whole.add(key)
  else assigned.parts.add(key)
}

/** `normalColumnOperation`: true where the column is set as a whole. */
function assignedValue(cursor: Cursor, key: string): boolean {
  const next = cursor.peek(1)
  if (
    columnNames[cursor.kind] === 1 &&
    (next === T.PLUS || next === T.MINUS || next === T.INTEGER) &&
    !startsCall(cursor)
  ) {
    sameColumn(cursor, key)
    if (cursor.accept(T.INTEGER)) return false
    cursor.advance()
    term(cursor)
    return false
  }
  term(cursor)
  if (!cursor.accept(T.PLUS)) return true
  sameColumn(cursor, key)
  return false
}

function sameColumn(cursor: Cursor, key: string): void {
  if (column(cursor) !== key) throw cursor.failure('only expressions of the form x = x + <value> are supported')
}

function finish(
  cursor: Cursor,
  mark: Mark,
  verb: Modification['verb'],
  table: QualifiedName,
  wildcard: boolean,
  condition: Modification['condition'],
): Modification {
  return {
    kind: 'modification',
    verb,
    table,
    wildcard,
    mentions: cursor.mentions(mark),
    condition,
    tokens: [mark.at, cursor.at],
    markers: [mark.markers, cursor.markers.length],
  }
}
