/** Values and expressions outside of select lists: `term` of `Parser.g`, bind markers and function calls included. */
import { acceptMarker, type Cursor, collect, functionName, list, nextMarker, startsCall, stringOf } from './cursor.ts'
import type { RestrictingValue } from './facts.ts'
import { columnNames, constants, names } from './keywords.ts'
import { K, T } from './tokens.ts'
import { nativeType, parseType, typeEnd } from './types.ts'

/** Strings and markers of a statement that facts keep, and the longest string: names and keys, not documents. */
const keptTextsMax = 1000
const keptMarkersMax = 4096
const keptTextMax = 256

/** A `term` that restricts a column, as facts say it. */
export function value(cursor: Cursor): RestrictingValue {
  const { at, kind } = cursor
  const marker = nextMarker(cursor)
  term(cursor)
  const tokens = cursor.at - at
  if ((kind === T.QMARK && tokens === 1) || (kind === T.COLON && tokens === 2)) {
    cursor.keptMarkers += 1
    return cursor.keptMarkers > keptMarkersMax ? undefined : { marker }
  }
  if (kind !== T.STRING || tokens !== 1 || cursor.keptTexts >= keptTextsMax || cursor.isVerbose) return undefined
  if (cursor.tokens.ends[at]! - cursor.tokens.starts[at]! > keptTextMax) return undefined
  cursor.keptTexts += 1
  return { text: stringOf(cursor, at) }
}

/** `term`: sums of products of simple terms. */
export function term(cursor: Cursor): void {
  product(cursor)
  for (;;) {
    if (cursor.kind === T.PLUS) {
      // `SET list = [1] + list`: a bare name after the plus belongs to the assignment, not to the term.
      if (columnNames[cursor.peek(1)] === 1 && !startsSimpleTerm(cursor, 1)) return
    } else if (cursor.kind !== T.MINUS) return
    cursor.advance()
    product(cursor)
  }
}

function product(cursor: Cursor): void {
  group(cursor)
  while (cursor.kind === T.STAR || cursor.kind === T.SLASH || cursor.kind === T.PERCENT) {
    cursor.advance()
    group(cursor)
  }
}

function group(cursor: Cursor): void {
  cursor.accept(T.MINUS)
  simpleTerm(cursor)
}

function simpleTerm(cursor: Cursor): void {
  const kind = cursor.kind
  if (constants[kind] === 1 || kind === K.NULL) {
    cursor.advance()
    return
  }
  if (acceptMarker(cursor)) return
  cursor.enter()
  if (kind === T.PAREN_OPEN) {
    if (startsTypeCast(cursor)) {
      cursor.advance()
      parseType(cursor)
      cursor.expect(T.PAREN_CLOSE)
      simpleTerm(cursor)
    } else tupleLiteral(cursor)
  } else if (kind === T.BRACKET_OPEN) {
    cursor.advance()
    if (!cursor.accept(T.BRACKET_CLOSE)) {
      list(cursor, term)
      cursor.expect(T.BRACKET_CLOSE)
    }
  } else if (kind === T.BRACE_OPEN) braces(cursor)
  else if (kind === K.CAST && cursor.peek(1) === T.PAREN_OPEN) {
    cursor.advance()
    cursor.advance()
    simpleTerm(cursor)
    cursor.expect(K.AS)
    nativeType(cursor)
    cursor.expect(T.PAREN_CLOSE)
  } else call(cursor)
  cursor.leave()
}

/** `function` */
function call(cursor: Cursor): void {
  if (!startsCall(cursor)) throw cursor.unexpected()
  cursor.call(functionName(cursor))
  cursor.expect(T.PAREN_OPEN)
  if (cursor.accept(T.PAREN_CLOSE)) return
  list(cursor, term)
  cursor.expect(T.PAREN_CLOSE)
}

/** `collectionLiteral` with braces, or `usertypeLiteral`. */
function braces(cursor: Cursor): void {
  cursor.expect(T.BRACE_OPEN)
  if (cursor.accept(T.BRACE_CLOSE)) return
  if (names[cursor.kind] === 1 && cursor.peek(1) === T.COLON) {
    do {
      if (names[cursor.kind] !== 1) throw cursor.unexpected()
      cursor.advance()
      cursor.expect(T.COLON)
      term(cursor)
    } while (cursor.accept(T.COMMA))
  } else {
    term(cursor)
    if (cursor.accept(T.COLON)) {
      term(cursor)
      while (cursor.accept(T.COMMA)) {
        term(cursor)
        cursor.expect(T.COLON)
        term(cursor)
      }
    } else while (cursor.accept(T.COMMA)) term(cursor)
  }
  cursor.expect(T.BRACE_CLOSE)
}

/** `tupleLiteral` */
export function tupleLiteral(cursor: Cursor): undefined {
  cursor.expect(T.PAREN_OPEN)
  list(cursor, term)
  cursor.expect(T.PAREN_CLOSE)
}

/** `'(' term (',' term)* ')'` whose terms restrict columns. */
export function tupleValues(cursor: Cursor): RestrictingValue[] {
  cursor.expect(T.PAREN_OPEN)
  const values = collect(cursor, value)
  cursor.expect(T.PAREN_CLOSE)
  return values
}

/** `'(' type ')' simpleTerm` against `'(' term, … ')'`: told apart by what follows the closing parenthesis. */
function startsTypeCast(cursor: Cursor): boolean {
  const end = typeEnd(cursor, 1)
  if (end < 0 || cursor.peek(end) !== T.PAREN_CLOSE) return false
  // Of the types, only a class name in quotes could be a term as well.
  return cursor.peek(1) !== T.STRING || startsSimpleTerm(cursor, end + 1)
}

function startsSimpleTerm(cursor: Cursor, ahead: number): boolean {
  const kind = cursor.peek(ahead)
  if (constants[kind] === 1) return true
  switch (kind) {
    case T.QMARK:
    case T.PAREN_OPEN:
    case T.BRACKET_OPEN:
    case T.BRACE_OPEN:
    case K.NULL:
      return true
    case T.COLON:
      // In `{('a') : cast(1 AS text)}` the colon stands between key and value.
      return names[cursor.peek(ahead + 1)] === 1 && !startsFunction(cursor, ahead + 1)
    default:
      return startsFunction(cursor, ahead)
  }
}

/** A call or a CAST. */
function startsFunction(cursor: Cursor, ahead: number): boolean {
  return startsCall(cursor, ahead) || (cursor.peek(ahead) === K.CAST && cursor.peek(ahead + 1) === T.PAREN_OPEN)
}

/**
 * `fullMapLiteral` for properties: literals only, no key twice.
 * @param entry is told each key, at its value's token; no value is kept here
 */
export function propertyMap(
  cursor: Cursor,
  literalText: (cursor: Cursor) => string,
  entry?: (cursor: Cursor, key: string) => void,
): void {
  cursor.expect(T.BRACE_OPEN)
  if (cursor.accept(T.BRACE_CLOSE)) return
  const keys = new Set<string>()
  do {
    if (constants[cursor.kind] !== 1) throw cursor.failure('property names are literals')
    const key = literalText(cursor)
    if (keys.has(key)) throw cursor.failure('multiple definition for a property')
    keys.add(key)
    cursor.advance()
    cursor.expect(T.COLON)
    if (constants[cursor.kind] !== 1) throw cursor.failure('property values are literals')
    entry?.(cursor, key)
    cursor.advance()
  } while (cursor.accept(T.COMMA))
  cursor.expect(T.BRACE_CLOSE)
}
