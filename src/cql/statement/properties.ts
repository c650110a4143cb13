/** `WITH a = 1 AND b = {…}`: the properties of keyspaces, tables, views and indexes. */
import { type Cursor, name, stringOf } from './cursor.ts'
import { constants, unreserved } from './keywords.ts'
import { propertyMap } from './terms.ts'
import { T } from './tokens.ts'

/** `property`; `seen` holds the names so far, since none may come twice. */
export function property(cursor: Cursor, seen: Set<string>): void {
  const key = name(cursor)
  if (seen.has(key)) throw cursor.failure('multiple definition for a property')
  seen.add(key)
  cursor.expect(T.EQUALS)
  if (cursor.kind === T.BRACE_OPEN) propertyMap(cursor, literalText)
  else if (constants[cursor.kind] === 1 || unreserved[cursor.kind] === 1) cursor.advance()
  else throw cursor.unexpected()
}

/** What `Constants.Literal.getRawText` gives: by this, keys of a map are the same or not. */
export function literalText(cursor: Cursor): string {
  if (cursor.kind === T.STRING) return stringOf(cursor)
  if (cursor.kind !== T.NOT_FINITE) return cursor.text()
  const text = cursor.text().toLowerCase()
  return text.endsWith('nan') ? 'NaN' : text.startsWith('-') ? '-Infinity' : 'Infinity'
}
