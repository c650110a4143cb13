/** SELECT: `selectStatement` of `Parser.g`, and the select lists that materialized views use too. */
import type { Select } from './ast.ts'
import {
  acceptMarker,
  type Cursor,
  column,
  functionName,
  integerOrMarker,
  list,
  name,
  qualifiedName,
  startsCall,
} from './cursor.ts'
import { constants, names } from './keywords.ts'
import { term } from './terms.ts'
import { K, T } from './tokens.ts'
import { nativeType, parseType, typeEnd } from './types.ts'
import { whereClause } from './where.ts'

/** `selectStatement`, after the word SELECT. */
export function selectStatement(cursor: Cursor): Select {
  const mark = cursor.mark()
  // json and distinct are names as well: `SELECT json FROM t`, `SELECT json - json FROM t`.
  if (cursor.kind === K.JSON && isModifier(cursor)) cursor.advance()
  const wildcard = selectClause(cursor)
  cursor.expect(K.FROM)
  const table = qualifiedName(cursor)
  if (cursor.accept(K.WHERE)) whereClause(cursor)
  if (cursor.accept(K.GROUP)) {
    cursor.expect(K.BY)
    list(cursor, unaliasedSelector)
  }
  if (cursor.accept(K.ORDER)) {
    cursor.expect(K.BY)
    list(cursor, ordering)
  }
  if (cursor.accept(K.PER)) {
    cursor.expect(K.PARTITION)
    cursor.expect(K.LIMIT)
    integerOrMarker(cursor)
  }
  if (cursor.accept(K.LIMIT)) integerOrMarker(cursor)
  if (cursor.accept(K.ALLOW)) cursor.expect(K.FILTERING)
  return { kind: 'select', table, wildcard, mentions: cursor.mentions(mark) }
}

/**
 * Whether JSON or DISTINCT, on which the cursor stands, is the keyword: a select list can start after it. Where both readings
 * are possible, Cassandra tries the keyword first.
 */
function isModifier(cursor: Cursor): boolean {
  const kind = cursor.peek(1)
  if (kind === K.AS) return !isAlias(cursor, 1)
  if (names[kind] === 1 || constants[kind] === 1) return true
  switch (kind) {
    case K.TOKEN:
    case K.NULL:
    case T.QMARK:
    case T.COLON:
    case T.BRACE_OPEN:
    case T.PAREN_OPEN:
    case T.STAR:
    case T.MINUS:
      return true
    case T.BRACKET_OPEN:
      return startsSelectClause(cursor)
    default:
      return false
  }
}

/** Tries a select list after the word on which the cursor stands, and comes back. */
function startsSelectClause(cursor: Cursor): boolean {
  const mark = cursor.mark()
  const matches = cursor.attempt(() => {
    cursor.advance()
    selectClause(cursor)
  })
  cursor.restore(mark)
  return matches
}

/**
 * `AS name` at the end of a selector or a CAST, `ahead` being the place of AS; AS is a name as well. In the places that ask, ANTLR's
 * tables forget PER among the names.
 */
function isAlias(cursor: Cursor, ahead: number): boolean {
  const alias = cursor.peek(ahead + 1)
  const after = cursor.peek(ahead + 2)
  return names[alias] === 1 && alias !== K.PER && (after === K.FROM || after === T.COMMA || after === T.PAREN_CLOSE)
}

/** `selectClause`: true for `*`. */
function selectClause(cursor: Cursor): boolean {
  if (cursor.kind === K.DISTINCT && isModifier(cursor)) cursor.advance()
  return selectors(cursor)
}

/** `selectors`: true for `*`. */
export function selectors(cursor: Cursor): boolean {
  if (cursor.accept(T.STAR)) return true
  list(cursor, selector)
  return false
}

function selector(cursor: Cursor): void {
  unaliasedSelector(cursor)
  if (cursor.accept(K.AS)) name(cursor)
}

/** `orderByClause` */
function ordering(cursor: Cursor): void {
  column(cursor)
  if (cursor.accept(K.ANN)) {
    cursor.expect(K.OF)
    term(cursor)
  }
  if (!cursor.accept(K.ASC)) cursor.accept(K.DESC)
}

/** `unaliasedSelector`: sums of products of selections. */
export function unaliasedSelector(cursor: Cursor): void {
  do product(cursor)
  while (cursor.accept(T.PLUS) || cursor.accept(T.MINUS))
}

function product(cursor: Cursor): void {
  do {
    while (cursor.accept(T.MINUS));
    group(cursor)
    modifiers(cursor)
  } while (cursor.accept(T.STAR) || cursor.accept(T.SLASH) || cursor.accept(T.PERCENT))
}

/** `selectorModifier`: fields, elements and slices, as many as there are. */
function modifiers(cursor: Cursor): void {
  const first = cursor.at
  for (;;) {
    if (cursor.accept(T.DOT)) name(cursor)
    else if (cursor.accept(T.BRACKET_OPEN)) {
      cursor.enter()
      if (cursor.accept(T.RANGE)) term(cursor)
      else {
        term(cursor)
        if (cursor.accept(T.RANGE) && cursor.kind !== T.BRACKET_CLOSE) term(cursor)
      }
      cursor.leave()
      cursor.expect(T.BRACKET_CLOSE)
    } else break
  }
  // `GROUP BY a[1];` is an error in Cassandra, without the semicolon it is none: its predicate does not look behind the rule.
  if (cursor.kind === T.SEMICOLON && cursor.at > first) throw cursor.unexpected()
}

/** `selectionGroupWithoutField` */
function group(cursor: Cursor): void {
  const kind = cursor.kind
  if (constants[kind] === 1 || kind === K.NULL) {
    cursor.advance()
    return
  }
  if (acceptMarker(cursor)) return
  cursor.enter()
  if (kind === T.PAREN_OPEN) {
    if (!acceptTypeHint(cursor)) {
      cursor.advance()
      list(cursor, unaliasedSelector)
      cursor.expect(T.PAREN_CLOSE)
    }
  } else if (kind === T.BRACKET_OPEN) {
    cursor.advance()
    if (!cursor.accept(T.BRACKET_CLOSE)) {
      list(cursor, unaliasedSelector)
      cursor.expect(T.BRACKET_CLOSE)
    }
  } else if (kind === T.BRACE_OPEN) braces(cursor)
  else columnOrCall(cursor)
  cursor.leave()
}

/** `selectionMapOrSet` */
function braces(cursor: Cursor): void {
  cursor.expect(T.BRACE_OPEN)
  if (cursor.accept(T.BRACE_CLOSE)) return
  unaliasedSelector(cursor)
  if (cursor.accept(T.COLON)) {
    unaliasedSelector(cursor)
    while (cursor.accept(T.COMMA)) {
      unaliasedSelector(cursor)
      cursor.expect(T.COLON)
      unaliasedSelector(cursor)
    }
  } else while (cursor.accept(T.COMMA)) unaliasedSelector(cursor)
  cursor.expect(T.BRACE_CLOSE)
}

/** `sident` or `selectionFunction` */
function columnOrCall(cursor: Cursor): void {
  const kind = cursor.kind
  if (cursor.peek(1) === T.PAREN_OPEN) {
    if (kind === K.COUNT && cursor.peek(2) === T.STAR) {
      cursor.advance()
      cursor.advance()
      cursor.advance()
      cursor.expect(T.PAREN_CLOSE)
      return
    }
    if (kind === K.WRITETIME || kind === K.MAXWRITETIME || kind === K.TTL) {
      cursor.advance()
      cursor.advance()
      cursor.columns.push(name(cursor))
      modifiers(cursor)
      cursor.expect(T.PAREN_CLOSE)
      return
    }
    if (kind === K.CAST) {
      cursor.advance()
      cursor.advance()
      unaliasedSelector(cursor)
      cursor.expect(K.AS)
      nativeType(cursor)
      cursor.expect(T.PAREN_CLOSE)
      return
    }
  }
  if (!startsCall(cursor)) {
    cursor.columns.push(name(cursor))
    return
  }
  cursor.functions.push(functionName(cursor))
  cursor.expect(T.PAREN_OPEN)
  if (cursor.accept(T.PAREN_CLOSE)) return
  list(cursor, unaliasedSelector)
  cursor.expect(T.PAREN_CLOSE)
}

/**
 * `selectionTypeHint`, which Cassandra tries first wherever it can start: `(text) 'a'`, but also `(a)[b]`. What was tried in
 * vain is remembered, so that nested attempts stay linear.
 */
function acceptTypeHint(cursor: Cursor): boolean {
  const end = typeEnd(cursor, 1)
  if (end < 0 || cursor.peek(end) !== T.PAREN_CLOSE || cursor.notTypeHint.has(cursor.at)) return false
  if (cursor.peek(end + 1) === K.AS && cursor.peek(end + 2) !== K.AS && isAlias(cursor, end + 1)) return false
  const at = cursor.at
  const matches = cursor.attempt(typeHint)
  if (!matches) cursor.notTypeHint.add(at)
  return matches
}

function typeHint(cursor: Cursor): void {
  cursor.advance()
  parseType(cursor)
  cursor.expect(T.PAREN_CLOSE)
  group(cursor)
}
