/**
 * What a statement says, however it is spelled. Letter case, white space, comments and a `;` at the end make no difference, and a keyspace
 * that is written is the same as one that a name is resolved to. Two texts of one meaning are one statement to whoever asks twice; two that
 * mean different things never have one. Other ways to say the same (`1.0` for `1`) are told apart, which costs a refusal.
 */
import { isNativeFunction } from './functions.ts'
import { constants, nativeTypes, unreserved } from './keywords.ts'
import { lex } from './lexer.ts'
import { firstKeyword, K, T } from './tokens.ts'
import { wordKind } from './words.ts'

/**
 * Each token with its kind and, where it has one, its value behind its length, so that no two lists are the same string.
 *
 * @param isShadowed whether the keyspace of the statement's table has a function of this name of its own: then the name alone may mean that
 */
export function meaningOf(text: string, isShadowed: (name: string) => boolean): string {
  const { kinds, starts, ends, count } = lex(text)
  let end = count
  while (end > 0 && kinds[end - 1] === T.SEMICOLON) end--
  let found = ''
  const isSelect = kinds[0] === K.SELECT
  let placed = !isSelect
  let inTypes = false
  /** As a name without quotes has it; '' for what is none. */
  const wordAt = (at: number): string =>
    kinds[at] === T.IDENT || kinds[at]! >= firstKeyword ? text.slice(starts[at], ends[at]).toLowerCase() : ''
  for (let at = 0; at < end; at++) {
    // A native function is the same with its keyspace.
    if (kinds[at + 1] === T.DOT && kinds[at + 3] === T.PAREN_OPEN && isSelect && wordAt(at) === 'system') {
      const name = wordAt(at + 2)
      if (isNativeFunction(undefined, name) && !isShadowed(name)) at += 2
    }
    let kind = kinds[at]!
    let value = ''
    // `count(1)` counts rows, as `count(*)` does.
    const isCounted = kinds[at - 2] === K.COUNT && kinds[at - 1] === T.PAREN_OPEN && kinds[at + 1] === T.PAREN_CLOSE
    if (isCounted && constants[kind] === 1) {
      found += `${T.STAR}:0: `
      continue
    }
    if (kind <= T.NOT_FINITE) {
      const word = text.slice(starts[at], ends[at])
      value = tokenValue(kind, word)
      if (kind === T.QUOTED_NAME && kinds[at + 1] !== T.PAREN_OPEN) {
        const plain = plainKind(value)
        if (plain === T.IDENT) kind = plain
        else if (isSelect && isNameAnyway(plain, kinds[at - 1]!, inTypes)) {
          kind = plain
          value = ''
        }
      }
    }
    found += `${kind}:${value.length}:${value} `
    inTypes ||= kind === T.LESS
    // FROM is reserved, so the first one stands before the table; its keyspace is known apart.
    if (kind !== K.FROM || placed) continue
    placed = true
    if (kinds[at + 2] === T.DOT) at += 2
  }
  return found
}

function tokenValue(kind: number, word: string): string {
  if (kind === T.QUOTED_NAME) return word.slice(1, -1).replaceAll('""', '"')
  if (kind !== T.STRING) return word.toLowerCase()
  return word.startsWith('$') ? word.slice(2, -2) : word.slice(1, -1).replaceAll("''", "'")
}

/** What a name in quotes would be without them; `QUOTED_NAME` where that is another name. */
function plainKind(name: string): number {
  return /^[a-z][a-z0-9_]*$/.test(name) ? wordKind(name, 0, name.length) : T.QUOTED_NAME
}

/**
 * Whether a word of the language is a name in this place of a SELECT, without quotes as with them. JSON and DISTINCT say how to select where
 * they stand first; a type's word behind `(`, `AS` or within `<…>` is that type, and in quotes a type of the user's.
 */
function isNameAnyway(kind: number, before: number, inTypes: boolean): boolean {
  if (unreserved[kind] !== 1 || kind === K.JSON || kind === K.DISTINCT) return false
  return nativeTypes[kind] !== 1 || !(inTypes || before === T.PAREN_OPEN || before === K.AS)
}
