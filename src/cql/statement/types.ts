/** CQL types: `comparatorType` of `Parser.g`. Types name no data, so they are checked and leave nothing behind. */
import { type Cursor, name, stringOf } from './cursor.ts'
import { names, nativeTypes, typeNames } from './keywords.ts'
import { isMarshalType } from './marshal-types.ts'
import { K, T } from './tokens.ts'

const reservedTypeNames = new Set(['byte', 'complex', 'enum', 'date', 'interval', 'macaddr', 'bitstring'])
const dimensionMax = 2_147_483_647

/**
 * `comparatorType`
 * @returns whether `frozen<>` may be put round it: collections, tuples, vectors and user types, not native types
 */
export function parseType(cursor: Cursor): boolean {
  cursor.enter()
  const freezable = parseTypeInside(cursor)
  cursor.leave()
  return freezable
}

function parseTypeInside(cursor: Cursor): boolean {
  const next = cursor.peek(1)
  if (next !== T.DOT) {
    if (nativeTypes[cursor.kind] === 1) {
      cursor.advance()
      return false
    }
    if (cursor.kind === T.STRING) {
      if (!isMarshalType(stringOf(cursor))) cursor.refuse('cannot parse type in string literal')
      cursor.advance()
      return false
    }
  }
  if (next !== T.LESS) {
    userTypeName(cursor)
    return true
  }
  const generic = cursor.kind
  switch (generic) {
    case K.MAP:
      opening(cursor)
      parseType(cursor)
      cursor.expect(T.COMMA)
      parseType(cursor)
      break
    case K.LIST:
    case K.SET:
      opening(cursor)
      parseType(cursor)
      break
    case K.FROZEN:
      opening(cursor)
      if (!parseType(cursor)) cursor.refuse('frozen<> is only allowed on collections, tuples and user types')
      break
    case K.TUPLE:
      opening(cursor)
      do parseType(cursor)
      while (cursor.accept(T.COMMA))
      break
    case K.VECTOR:
      opening(cursor)
      parseType(cursor)
      cursor.expect(T.COMMA)
      cursor.contents.push(cursor.at)
      if (cursor.kind === T.INTEGER && Math.abs(Number(cursor.text())) > dimensionMax) {
        cursor.refuse('vector dimension is out of range')
      }
      cursor.expect(T.INTEGER)
      break
    default:
      throw cursor.unexpected()
  }
  cursor.expect(T.GREATER)
  return true
}

function opening(cursor: Cursor): void {
  cursor.advance()
  cursor.advance()
}

/** `userTypeName` */
export function userTypeName(cursor: Cursor): { keyspace: string | undefined; name: string } {
  let keyspace: string | undefined
  if (cursor.peek(1) === T.DOT) {
    keyspace = name(cursor, names)
    cursor.advance()
  }
  if (cursor.kind === T.IDENT && reservedTypeNames.has(cursor.text())) cursor.refuse('reserved user type name')
  return { keyspace, name: name(cursor, typeNames) }
}

/** `native_type` */
export function nativeType(cursor: Cursor): void {
  if (nativeTypes[cursor.kind] !== 1) throw cursor.unexpected()
  cursor.advance()
}

/** `'(' comparatorType (',' comparatorType)* ')'` or `'(' ')'` after a function's name. */
export function argumentTypes(cursor: Cursor): void {
  cursor.expect(T.PAREN_OPEN)
  if (cursor.accept(T.PAREN_CLOSE)) return
  do parseType(cursor)
  while (cursor.accept(T.COMMA))
  cursor.expect(T.PAREN_CLOSE)
}

/** Where the type that starts `ahead` of the cursor ends, as a distance; -1 where none starts there. Checks shape only. */
export function typeEnd(cursor: Cursor, ahead: number, depth = 0): number {
  const kind = cursor.peek(ahead)
  if (depth > 64) return -1
  const next = cursor.peek(ahead + 1)
  if (next === T.DOT) return names[kind] === 1 && typeNames[cursor.peek(ahead + 2)] === 1 ? ahead + 3 : -1
  if (next === T.LESS) {
    if (
      kind === K.MAP ||
      kind === K.LIST ||
      kind === K.SET ||
      kind === K.FROZEN ||
      kind === K.TUPLE ||
      kind === K.VECTOR
    ) {
      let at = typeEnd(cursor, ahead + 2, depth + 1)
      while (at > 0 && cursor.peek(at) === T.COMMA) {
        at = kind === K.VECTOR && cursor.peek(at + 1) === T.INTEGER ? at + 2 : typeEnd(cursor, at + 1, depth + 1)
      }
      return at > 0 && cursor.peek(at) === T.GREATER ? at + 1 : -1
    }
    return -1
  }
  return kind === T.STRING || nativeTypes[kind] === 1 || typeNames[kind] === 1 ? ahead + 1 : -1
}
