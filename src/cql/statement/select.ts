/** SELECT: `selectStatement` of `Parser.g`, and the select lists that materialized views use too. */
import type { Select } from './ast.ts'
import {
  acceptMarker,
  amount,
  type Cursor,
  column,
  functionName,
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
  const json = cursor.kind === K.JSON && isModifier(cursor)
  if (json) cursor.advance()
  const selected = selectClause(cursor)
  const shown = cursor.columns.length
  cursor.expect(K.FROM)
  const table = qualifiedName(cursor)
  const restrictions = cursor.accept(K.WHERE) ? whereClause(cursor) : []
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
    amount(cursor)
  }
  const limit = cursor.accept(K.LIMIT) ? amount(cursor) : undefined
  const allowFiltering = cursor.accept(K.ALLOW)
  if (allowFiltering) cursor.expect(K.FILTERING)
  return {
    kind: 'select',
    table,
    wildcard: selected.wildcard,
    mentions: cursor.mentions(mark),
    selection: json ? undefined : selected.wildcard ? '*' : selected.shown,
    used: json ? cursor.columns.slice(mark.columns) : selected.used.concat(cursor.columns.slice(shown)),
    restrictions,
    limit,
    allowFiltering,
  }
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

/** `selectClause` */
function selectClause(cursor: Cursor): Selected {
  if (cursor.kind === K.DISTINCT && isModifier(cursor)) cursor.advance()
  return selectors(cursor)
}

/** A select list. */
interface Selected {
  readonly wildcard: boolean
  /** For each selector the column that it is, undefined where it is more than a name. */
  readonly shown: readonly (string | undefined)[]
  /** Columns inside the others, doubles included. */
  readonly used: readonly string[]
}

/** `selectors` */
export function selectors(cursor: Cursor): Selected {
  const shown: (string | undefined)[] = []
  const used: string[] = []
  if (cursor.accept(T.STAR)) return { wildcard: true, shown, used }
  do {
    const { at, kind, columns } = cursor
    const mentioned = columns.length
    unaliasedSelector(cursor)
    const isColumn = names[kind] === 1 && cursor.at === at + 1
    shown.push(isColumn ? columns[mentioned] : undefined)
    if (!isColumn) for (let each = mentioned; each < columns.length; each += 1) used.push(columns[each]!)
    if (cursor.accept(K.AS)) name(cursor)
  } while (cursor.accept(T.COMMA))
  return { wildcard: false, shown, used }
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
function unaliasedSelector(cursor: Cursor): void {
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
  cursor.call(functionName(cursor))
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
  // `GROUP BY (a) PER PARTITION LIMIT 1`: no column is called per here.
  if (cursor.peek(end + 1) === K.PER && cursor.peek(end + 2) === K.PARTITION) return false
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
