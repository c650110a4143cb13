/** `WITH a = 1 AND b = {…}`: the properties of keyspaces, tables, views and indexes. */
import { RingfenceError } from '../../base/errors.ts'
import { classOfProperty, namesClass } from './classes.ts'
import { type Cursor, name, stringOf } from './cursor.ts'
import { constants, unreserved } from './keywords.ts'
import { propertyMap } from './terms.ts'
import { T } from './tokens.ts'

/** Properties so far by name; the raw text of a value, undefined for a map. */
export type Properties = Map<string, string | undefined>

/** `property`; none may come twice. */
export function property(cursor: Cursor, seen: Properties): void {
  const key = name(cursor)
  if (seen.has(key)) throw cursor.failure('multiple definition for a property')
  cursor.expect(T.EQUALS)
  let value: string | undefined
  if (cursor.kind === T.BRACE_OPEN) propertyMap(cursor, literalText, (at, option) => classOption(at, key, option))
  else if (constants[cursor.kind] === 1 || unreserved[cursor.kind] === 1) {
    if (key === defaultTtl) value = literalText(cursor)
    cursor.advance()
  } else throw cursor.unexpected()
  seen.set(key, value)
}

function classOption(cursor: Cursor, property: string, option: string): void {
  if (!namesClass(option)) return
  const named = classOfProperty(property, literalText(cursor))
  if (named !== undefined) cursor.classes.push(named)
}

const defaultTtl = 'default_time_to_live'
const secondsMax = 2_147_483_647

/**
 * `default_time_to_live` as `PropertyDefinitions.getInt` of Cassandra reads it, by Java's `Integer.parseInt`: quoted or not, with a sign.
 * @throws RingfenceError INVALID where Cassandra would refuse it later on
 */
export function defaultTtlOf(properties: Properties): number | undefined {
  if (!properties.has(defaultTtl)) return undefined
  const text = properties.get(defaultTtl) ?? ''
  const seconds = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(seconds <= secondsMax && seconds >= -secondsMax - 1)) {
    throw new RingfenceError('INVALID', `${defaultTtl} is not an integer of 32 bits`)
  }
  return seconds
}

/** What `Constants.Literal.getRawText` gives: by this, keys of a map are the same or not. */
export function literalText(cursor: Cursor): string {
  if (cursor.kind === T.STRING) return stringOf(cursor)
  if (cursor.kind !== T.NOT_FINITE) return cursor.text()
  const text = cursor.text().toLowerCase()
  return text.endsWith('nan') ? 'NaN' : text.startsWith('-') ? '-Infinity' : 'Infinity'
}
