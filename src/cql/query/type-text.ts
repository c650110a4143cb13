/** Types as a statement writes them: native ones and collections of them. What a user made is not looked up, so nobody learns whether it exists. */
import type { Cursor } from '../statement/cursor.ts'
import { nativeTypes } from '../statement/keywords.ts'
import { K, T } from '../statement/tokens.ts'
import { type CqlType, type NativeTypeName, native } from '../types.ts'
import { unsupported } from './unsupported.ts'

/** The type at the cursor, and its words as Cassandra would write them. */
export function readTypeText(cursor: Cursor): { type: CqlType; words: string } {
  const { kind } = cursor
  if (cursor.peek(1) === T.LESS) {
    cursor.enter()
    const word = cursor.text().toLowerCase()
    cursor.advance()
    cursor.advance()
    const parts = [readTypeText(cursor)]
    while (cursor.accept(T.COMMA)) parts.push(readTypeText(cursor))
    cursor.expect(T.GREATER)
    cursor.leave()
    const words = `${word}<${parts.map((part) => part.words).join(', ')}>`
    const [first, second] = parts
    if (first !== undefined) {
      if (kind === K.FROZEN) return { type: first.type, words }
      if (kind === K.LIST || kind === K.SET)
        return { type: { kind: kind === K.LIST ? 'list' : 'set', element: first.type }, words }
      if (kind === K.MAP && second !== undefined)
        return { type: { kind: 'map', key: first.type, value: second.type }, words }
      if (kind === K.TUPLE) return { type: { kind: 'tuple', elements: parts.map(({ type }) => type) }, words }
    }
  } else if (nativeTypes[kind] === 1) {
    const word = cursor.text().toLowerCase()
    cursor.advance()
    return {
      type: native(word === 'varchar' ? 'text' : (word as NativeTypeName)),
      words: word === 'varchar' ? 'text' : word,
    }
  }
  throw unsupported('a type that is not native')
}
