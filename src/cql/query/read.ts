/**
 * Text → tree. `statement/` has read the text before and says what it names; that is what policy judges. This reads it once more, for
 * only those statements pay for a tree that are answered out of one. Both walk over the same tokens, and a tree reaches nothing beyond
 * the one table that its caller hands in.
 */
import {
  acceptMarker,
  Cursor,
  collect,
  column,
  functionName,
  name,
  qualifiedName,
  startsCall,
  stringOf,
} from '../statement/cursor.ts'
import { columnNames, constants, names } from '../statement/keywords.ts'
import { lex } from '../statement/lexer.ts'
import { K, T } from '../statement/tokens.ts'
import { typeEnd } from '../statement/types.ts'
import type { Expression, Operator, Relation, Selector, SelectTree } from './tree.ts'
import { readTypeText } from './type-text.ts'
import { unsupported } from './unsupported.ts'

/** @throws RingfenceError SYNTAX for what is no SELECT, INVALID for what is not supported */
export function readSelect(text: string): SelectTree {
  const cursor = new Cursor(lex(text))
  cursor.expect(K.SELECT)
  const json = cursor.kind === K.JSON && isWord(cursor)
  if (json) cursor.advance()
  const distinct = cursor.kind === K.DISTINCT && isWord(cursor)
  if (distinct) cursor.advance()
  const selectors = cursor.accept(T.STAR) ? '*' : collect(cursor, selector)
  cursor.expect(K.FROM)
  const tableAt = cursor.tokens.starts[cursor.at]!
  const { keyspace, name: table } = qualifiedName(cursor)
  const where: Relation[] = []
  if (cursor.accept(K.WHERE)) {
    do where.push(relation(cursor))
    while (cursor.accept(K.AND))
  }
  let groupBy: readonly Expression[] = []
  if (cursor.accept(K.GROUP)) {
    cursor.expect(K.BY)
    groupBy = collect(cursor, sum)
  }
  let orderBy: SelectTree['orderBy'] = []
  if (cursor.accept(K.ORDER)) {
    cursor.expect(K.BY)
    orderBy = collect(cursor, ordering)
  }
  let perPartitionLimit: Expression | undefined
  if (cursor.accept(K.PER)) {
    cursor.expect(K.PARTITION)
    cursor.expect(K.LIMIT)
    perPartitionLimit = limitValue(cursor)
  }
  const limit = cursor.accept(K.LIMIT) ? limitValue(cursor) : undefined
  const allowFiltering = cursor.accept(K.ALLOW)
  if (allowFiltering) cursor.expect(K.FILTERING)
  while (cursor.accept(T.SEMICOLON));
  if (cursor.kind !== T.EOF) throw cursor.unexpected()
  return {
    json,
    distinct,
    selectors,
    keyspace,
    table,
    tableAt,
    where,
    groupBy,
    orderBy,
    perPartitionLimit,
    limit,
    allowFiltering,
    markers: cursor.markers,
  }
}

/** Whether JSON or DISTINCT is the keyword here and not a name: see `statement/select.ts`. No table that is answered here has such a column. */
function isWord(cursor: Cursor): boolean {
  const kind = cursor.peek(1)
  return kind !== K.FROM && kind !== T.COMMA && kind !== T.DOT
}

function selector(cursor: Cursor): Selector {
  const expression = sum(cursor)
  return { expression, alias: cursor.accept(K.AS) ? name(cursor) : undefined }
}

function ordering(cursor: Cursor): { column: string; descending: boolean } {
  const ordered = column(cursor)
  if (cursor.kind === K.ANN) throw unsupported('ANN OF')
  if (cursor.accept(K.ASC)) return { column: ordered, descending: false }
  return { column: ordered, descending: cursor.accept(K.DESC) }
}

// --- WHERE

function relation(cursor: Cursor): Relation {
  if (cursor.kind === T.EXPR) throw unsupported('an expression of a custom index')
  if (cursor.accept(K.TOKEN)) {
    cursor.expect(T.PAREN_OPEN)
    const columns = collect(cursor, column)
    cursor.expect(T.PAREN_CLOSE)
    return { columns, token: true, tuple: false, key: undefined, operator: operator(cursor), value: sum(cursor) }
  }
  if (cursor.kind === T.PAREN_OPEN) {
    const after = cursor.peek(2)
    cursor.enter()
    cursor.advance()
    if (columnNames[cursor.kind] === 1 && (after === T.PAREN_CLOSE || after === T.COMMA)) {
      const columns = collect(cursor, column)
      cursor.expect(T.PAREN_CLOSE)
      cursor.leave()
      const several = { columns, token: false, tuple: true, key: undefined } as const
      if (cursor.accept(K.IN)) return { ...several, operator: 'IN', value: inValues(cursor) }
      return { ...several, operator: operator(cursor), value: tupleOrMarker(cursor) }
    }
    const inside = relation(cursor)
    cursor.expect(T.PAREN_CLOSE)
    cursor.leave()
    return inside
  }
  const columns = [column(cursor)]
  if (cursor.accept(T.BRACKET_OPEN)) {
    const key = sum(cursor)
    cursor.expect(T.BRACKET_CLOSE)
    return { columns, token: false, tuple: false, key, operator: operator(cursor), value: sum(cursor) }
  }
  const one = { columns, token: false, tuple: false, key: undefined } as const
  if (cursor.accept(K.IN)) return { ...one, operator: 'IN', value: inValues(cursor) }
  if (cursor.accept(K.CONTAINS)) {
    const ofKey = cursor.peek(1) !== T.DOT && cursor.accept(K.KEY)
    return { ...one, operator: ofKey ? 'CONTAINS KEY' : 'CONTAINS', value: sum(cursor) }
  }
  return { ...one, operator: operator(cursor), value: sum(cursor) }
}

function operator(cursor: Cursor): Operator {
  const { kind } = cursor
  const known =
    kind === T.EQUALS
      ? '='
      : kind === T.LESS
        ? '<'
        : kind === T.LESS_EQUALS
          ? '<='
          : kind === T.GREATER
            ? '>'
            : kind === T.GREATER_EQUALS
              ? '>='
              : undefined
  if (known === undefined) throw unsupported('this relation in WHERE')
  cursor.advance()
  return known
}

/** A `list` of what stands in the parentheses, or a marker. */
function inValues(cursor: Cursor): Expression {
  if (cursor.kind !== T.PAREN_OPEN) return markerOf(cursor)
  cursor.advance()
  if (cursor.accept(T.PAREN_CLOSE)) return { kind: 'list', parts: [] }
  const parts = collect(cursor, sum)
  cursor.expect(T.PAREN_CLOSE)
  return { kind: 'list', parts }
}

function tupleOrMarker(cursor: Cursor): Expression {
  if (cursor.kind !== T.PAREN_OPEN) return markerOf(cursor)
  cursor.advance()
  const parts = collect(cursor, sum)
  cursor.expect(T.PAREN_CLOSE)
  return { kind: 'tuple', parts }
}

/** `intValue` of Cassandra's grammar: what is anything else is no statement. */
function limitValue(cursor: Cursor): Expression {
  return cursor.kind === T.INTEGER ? primary(cursor) : markerOf(cursor)
}

function markerOf(cursor: Cursor): Expression {
  const index = cursor.markers.length
  if (!acceptMarker(cursor)) throw cursor.unexpected()
  return { kind: 'marker', index }
}

// --- expressions

function sum(cursor: Cursor): Expression {
  let left = product(cursor)
  let depth = 0
  while (cursor.kind === T.PLUS || cursor.kind === T.MINUS) {
    // A chain is a tree as deep as it is long.
    cursor.enter()
    depth++
    const operator = cursor.kind === T.PLUS ? '+' : '-'
    cursor.advance()
    left = { kind: 'operation', operator, left, right: product(cursor) }
  }
  for (; depth > 0; depth--) cursor.leave()
  return left
}

function product(cursor: Cursor): Expression {
  let left = signed(cursor)
  let depth = 0
  while (cursor.kind === T.STAR || cursor.kind === T.SLASH || cursor.kind === T.PERCENT) {
    cursor.enter()
    depth++
    const operator = cursor.kind === T.STAR ? '*' : cursor.kind === T.SLASH ? '/' : '%'
    cursor.advance()
    left = { kind: 'operation', operator, left, right: signed(cursor) }
  }
  for (; depth > 0; depth--) cursor.leave()
  return left
}

function signed(cursor: Cursor): Expression {
  let minuses = 0
  while (cursor.accept(T.MINUS)) {
    cursor.enter()
    minuses++
  }
  let part = modified(cursor)
  for (let i = 0; i < minuses; i++) {
    cursor.leave()
    part = { kind: 'negation', part }
  }
  return part
}

function modified(cursor: Cursor): Expression {
  return partsOf(cursor, primary(cursor))
}

/** What stands in brackets behind `whole`. */
function partsOf(cursor: Cursor, whole: Expression): Expression {
  let of = whole
  let depth = 0
  while (cursor.accept(T.BRACKET_OPEN)) {
    cursor.enter()
    depth++
    if (cursor.accept(T.RANGE)) of = { kind: 'slice', of, from: undefined, to: sum(cursor) }
    else {
      const key = sum(cursor)
      if (!cursor.accept(T.RANGE)) of = { kind: 'element', of, key }
      else of = { kind: 'slice', of, from: key, to: cursor.kind === T.BRACKET_CLOSE ? undefined : sum(cursor) }
    }
    cursor.expect(T.BRACKET_CLOSE)
  }
  if (cursor.kind === T.DOT) throw unsupported('a field of a user type')
  for (; depth > 0; depth--) cursor.leave()
  return of
}

function primary(cursor: Cursor): Expression {
  const { kind } = cursor
  if (constants[kind] === 1) {
    const text = kind === T.STRING ? stringOf(cursor) : cursor.text()
    cursor.advance()
    return { kind: 'constant', token: kind, text }
  }
  if (cursor.accept(K.NULL)) return { kind: 'null' }
  if (kind === T.QMARK || kind === T.COLON) return markerOf(cursor)
  cursor.enter()
  const read = compound(cursor)
  cursor.leave()
  return read
}

function compound(cursor: Cursor): Expression {
  if (cursor.kind === T.PAREN_OPEN) return parenthesis(cursor)
  if (cursor.accept(T.BRACKET_OPEN)) {
    const parts = cursor.kind === T.BRACKET_CLOSE ? [] : collect(cursor, sum)
    cursor.expect(T.BRACKET_CLOSE)
    return { kind: 'list', parts }
  }
  if (cursor.accept(T.BRACE_OPEN)) return braces(cursor)
  return columnOrCall(cursor)
}

function parenthesis(cursor: Cursor): Expression {
  const end = typeEnd(cursor, 1)
  if (end > 0 && cursor.peek(end) === T.PAREN_CLOSE && startsPrimary(cursor, end + 1)) {
    cursor.advance()
    const { type, words } = readTypeText(cursor)
    cursor.expect(T.PAREN_CLOSE)
    return { kind: 'hint', part: primary(cursor), type, words }
  }
  cursor.advance()
  const items = collect(cursor, sum)
  cursor.expect(T.PAREN_CLOSE)
  const [part] = items
  // A tuple of one does not occur where an answer is made here.
  return items.length === 1 && part !== undefined ? { kind: 'group', part } : { kind: 'tuple', parts: items }
}

function startsPrimary(cursor: Cursor, ahead: number): boolean {
  const kind = cursor.peek(ahead)
  if (constants[kind] === 1 || kind === K.NULL || kind === T.QMARK || kind === T.COLON) return true
  if (kind === T.PAREN_OPEN || kind === T.BRACKET_OPEN || kind === T.BRACE_OPEN) return true
  // `(a) AS b`, `(a) FROM …`: what follows ends the selector.
  return names[kind] === 1 && kind !== K.AS && kind !== K.PER
}

function braces(cursor: Cursor): Expression {
  if (cursor.accept(T.BRACE_CLOSE)) return { kind: 'set', parts: [] }
  const first = sum(cursor)
  if (cursor.accept(T.COLON)) {
    const entries: [Expression, Expression][] = [[first, sum(cursor)]]
    while (cursor.accept(T.COMMA)) {
      const key = sum(cursor)
      cursor.expect(T.COLON)
      entries.push([key, sum(cursor)])
    }
    cursor.expect(T.BRACE_CLOSE)
    return { kind: 'map', entries }
  }
  const parts = [first]
  while (cursor.accept(T.COMMA)) parts.push(sum(cursor))
  cursor.expect(T.BRACE_CLOSE)
  return { kind: 'set', parts }
}

function columnOrCall(cursor: Cursor): Expression {
  const { kind } = cursor
  if (cursor.peek(1) === T.PAREN_OPEN) {
    if (kind === K.COUNT && cursor.peek(2) === T.STAR) {
      for (let i = 0; i < 3; i++) cursor.advance()
      cursor.expect(T.PAREN_CLOSE)
      return { kind: 'countRows' }
    }
    if (kind === K.WRITETIME || kind === K.MAXWRITETIME || kind === K.TTL) {
      const of = kind === K.WRITETIME ? 'writetime' : kind === K.TTL ? 'ttl' : 'maxwritetime'
      cursor.advance()
      cursor.advance()
      const stamped = name(cursor)
      const part = cursor.kind === T.PAREN_CLOSE ? undefined : partsOf(cursor, { kind: 'column', name: stamped })
      cursor.expect(T.PAREN_CLOSE)
      return { kind: 'stamp', of, column: stamped, part }
    }
    if (kind === K.CAST) {
      cursor.advance()
      cursor.advance()
      const part = sum(cursor)
      cursor.expect(K.AS)
      const { type } = readTypeText(cursor)
      cursor.expect(T.PAREN_CLOSE)
      return { kind: 'cast', part, type }
    }
  }
  if (!startsCall(cursor)) {
    const named = name(cursor, columnNames)
    return { kind: 'column', name: named }
  }
  const called = functionName(cursor)
  cursor.expect(T.PAREN_OPEN)
  const parts = cursor.kind === T.PAREN_CLOSE ? [] : collect(cursor, sum)
  cursor.expect(T.PAREN_CLOSE)
  if (called.keyspace !== undefined && called.keyspace !== 'system') throw unsupported('a function of one’s own')
  return { kind: 'call', keyspace: called.keyspace, name: called.name, parts }
}
