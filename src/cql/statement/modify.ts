/** INSERT, UPDATE and DELETE: the modification rules of `Parser.g`. Those inside a BATCH text are found in `batch.ts`. */

import { assigned, assignedTerm } from './assigned.ts'
import type { Modification, Using } from './ast.ts'
import {
  acceptMarker,
  amount,
  type Cursor,
  collect,
  column,
  list,
  type Mark,
  name,
  qualifiedName,
  startsCall,
} from './cursor.ts'
import type { Amount, Assignment, Restriction } from './facts.ts'
import { columnNames } from './keywords.ts'
import { term, value } from './terms.ts'
import { K, T } from './tokens.ts'
import { conditions, whereClause } from './where.ts'

/** `batchStatementObjective`: one write, at its first word. */
export function modification(cursor: Cursor): Modification {
  const mark = cursor.mark()
  cursor.firstMarker = mark.markers
  if (cursor.accept(K.INSERT)) return insertStatement(cursor, mark)
  if (cursor.accept(K.UPDATE)) return updateStatement(cursor, mark)
  cursor.expect(K.DELETE)
  return deleteStatement(cursor, mark)
}

function insertStatement(cursor: Cursor, mark: Mark): Modification {
  cursor.expect(K.INTO)
  const table = qualifiedName(cursor)
  const wildcard = cursor.accept(K.JSON)
  let inserted: Written = { restrictions: [], assignments: [] }
  if (wildcard) {
    if (!cursor.accept(T.STRING) && !acceptMarker(cursor)) throw cursor.unexpected()
    if (cursor.accept(K.DEFAULT) && !cursor.accept(K.NULL)) cursor.expect(K.UNSET)
  } else {
    cursor.expect(T.PAREN_OPEN)
    const columns = collect(cursor, column)
    cursor.expect(T.PAREN_CLOSE)
    cursor.expect(K.VALUES)
    inserted = insertedValues(cursor, columns)
  }
  let conditional = false
  if (cursor.accept(K.IF)) {
    cursor.expect(K.NOT)
    cursor.expect(K.EXISTS)
    conditional = true
  }
  const using = usingClause(cursor)
  return finish(cursor, mark, {
    verb: 'INSERT',
    table,
    wildcard,
    ...inserted,
    condition: conditional ? 'rows' : undefined,
    ...using,
  })
}

interface Written {
  /** WHERE, or each column with its value. */
  readonly restrictions: readonly Restriction[]
  readonly assignments: readonly Assignment[]
}

/** Each column with its value. Cassandra refuses what is left over on either side, though not while parsing. */
function insertedValues(cursor: Cursor, columns: readonly string[]): Written {
  const restrictions: Restriction[] = []
  const assignments: Assignment[] = []
  let at = 0
  cursor.spend(columns.length)
  cursor.expect(T.PAREN_OPEN)
  list(cursor, () => {
    const { value: written, read } = assigned(cursor, value)
    const name = columns[at]
    at += 1
    if (name === undefined) return
    restrictions.push({ columns: [name], operator: '=', token: false, values: [read], list: undefined })
    if (written !== 'value') assignments.push({ column: name, part: 'whole', value: written })
  })
  cursor.expect(T.PAREN_CLOSE)
  return { restrictions, assignments }
}

function updateStatement(cursor: Cursor, mark: Mark): Modification {
  const table = qualifiedName(cursor)
  const using = usingClause(cursor)
  cursor.expect(K.SET)
  const set: Assigned = { whole: new Set(), parts: new Map(), list: [] }
  do assignment(cursor, set)
  while (cursor.accept(T.COMMA))
  cursor.expect(K.WHERE)
  const restrictions = whereClause(cursor)
  return finish(cursor, mark, {
    verb: 'UPDATE',
    table,
    wildcard: false,
    restrictions,
    assignments: set.list,
    condition: condition(cursor),
    ...using,
  })
}

function deleteStatement(cursor: Cursor, mark: Mark): Modification {
  const wildcard = cursor.kind === K.FROM
  const assignments = wildcard ? [] : collect(cursor, deletion)
  cursor.expect(K.FROM)
  const table = qualifiedName(cursor)
  let timestamp: Amount | undefined
  if (cursor.accept(K.USING)) {
    cursor.expect(K.TIMESTAMP)
    timestamp = amount(cursor)
  }
  cursor.expect(K.WHERE)
  const restrictions = whereClause(cursor)
  return finish(cursor, mark, {
    verb: 'DELETE',
    table,
    wildcard,
    restrictions,
    assignments,
    condition: condition(cursor),
    ttl: undefined,
    timestamp,
  })
}

/** `deleteOp` */
function deletion(cursor: Cursor): Assignment {
  const key = column(cursor)
  let part: Assignment['part'] = 'whole'
  cursor.spend(1)
  if (cursor.accept(T.BRACKET_OPEN)) {
    part = 'element'
    term(cursor)
    cursor.expect(T.BRACKET_CLOSE)
  } else if (cursor.accept(T.DOT)) {
    part = 'field'
    name(cursor)
  }
  return { column: key, part, value: 'null' }
}

/** `usingClause`, if there is one. */
export function usingClause(cursor: Cursor): Using {
  let ttl: Amount | undefined
  let timestamp: Amount | undefined
  if (!cursor.accept(K.USING)) return { ttl, timestamp }
  do {
    if (cursor.accept(K.TIMESTAMP)) timestamp = amount(cursor)
    else {
      cursor.expect(K.TTL)
      ttl = amount(cursor)
    }
  } while (cursor.accept(K.AND))
  return { ttl, timestamp }
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
  /** Columns of which parts are set, with the fields among those. */
  readonly parts: Map<string, Set<string>>
  readonly list: Assignment[]
}

/** `columnOperation` */
function assignment(cursor: Cursor, set: Assigned): void {
  const key = column(cursor)
  let made: Assignment | undefined
  let whole = false
  let field: string | undefined
  switch (cursor.kind) {
    case T.EQUALS:
      cursor.advance()
      made = assignedValue(cursor, key)
      whole = made?.part === 'whole'
      break
    case T.PLUS_EQUALS:
      cursor.advance()
      term(cursor)
      break
    case T.MINUS_EQUALS:
      cursor.advance()
      made = { column: key, part: 'taken', value: assignedTerm(cursor) }
      break
    case T.BRACKET_OPEN:
      cursor.advance()
      term(cursor)
      cursor.expect(T.BRACKET_CLOSE)
      cursor.expect(T.EQUALS)
      made = { column: key, part: 'element', value: assignedTerm(cursor) }
      break
    case T.DOT:
      cursor.advance()
      field = name(cursor)
      cursor.expect(T.EQUALS)
      made = { column: key, part: 'field', value: assignedTerm(cursor) }
      break
    default:
      throw cursor.unexpected()
  }
  // `addRawUpdate`: a column that is set as a whole may be set only once, and so may a field.
  const fields = set.parts.get(key)
  if (set.whole.has(key) || (fields !== undefined && (whole || (field !== undefined && fields.has(field))))) {
    throw cursor.failure('multiple incompatible setting of a column')
  }
  if (whole) set.whole.add(key)
  else if (fields === undefined) set.parts.set(key, new Set(field === undefined ? [] : [field]))
  else if (field !== undefined) fields.add(field)
  if (made === undefined || (made.part !== 'element' && made.value === 'value')) return
  cursor.spend(1)
  set.list.push(made)
}

/** `normalColumnOperation`: undefined where it adds, or counts. */
function assignedValue(cursor: Cursor, key: string): Assignment | undefined {
  const next = cursor.peek(1)
  if (
    columnNames[cursor.kind] === 1 &&
    (next === T.PLUS || next === T.MINUS || next === T.INTEGER) &&
    !startsCall(cursor)
  ) {
    sameColumn(cursor, key)
    if (cursor.accept(T.INTEGER)) return undefined
    cursor.advance()
    const value = assignedTerm(cursor)
    return next === T.MINUS ? { column: key, part: 'taken', value } : undefined
  }
  const value = assignedTerm(cursor)
  if (!cursor.accept(T.PLUS)) return { column: key, part: 'whole', value }
  sameColumn(cursor, key)
  return undefined
}

function sameColumn(cursor: Cursor, key: string): void {
  if (column(cursor) !== key) throw cursor.failure('only expressions of the form x = x + <value> are supported')
}

/** What a statement says of itself; where it stands in the text comes from the cursor. */
type Said = Pick<
  Modification,
  'verb' | 'table' | 'wildcard' | 'restrictions' | 'assignments' | 'condition' | 'ttl' | 'timestamp'
>

function finish(cursor: Cursor, mark: Mark, said: Said): Modification {
  return {
    ...said,
    kind: 'modification',
    mentions: cursor.mentions(mark),
    like: undefined,
    tokens: [mark.at, cursor.at],
    markers: [mark.markers, cursor.markers.length],
  }
}
