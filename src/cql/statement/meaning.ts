/**
 * What a statement says, however it is spelled. Letter case, white space, comments and a `;` at the end make no difference, and a keyspace
 * that is written is the same as one that a name is resolved to. Two texts of one meaning are one statement to whoever asks twice; two that
 * mean different things never have one. Other ways to say the same (`"key"` for `key`, `1.0` for `1`) are told apart, which costs a
 * refusal.
 */
import { lex } from './lexer.ts'
import { K, T } from './tokens.ts'
import { wordKind } from './words.ts'

/** Each token with its kind and, where it has one, its value behind its length, so that no two lists are the same string. */
export function meaningOf(text: string): string {
  const { kinds, starts, ends, count } = lex(text)
  let end = count
  while (end > 0 && kinds[end - 1] === T.SEMICOLON) end--
  let found = ''
  let placed = kinds[0] !== K.SELECT
  for (let at = 0; at < end; at++) {
    let kind = kinds[at]!
    let value = ''
    if (kind <= T.NOT_FINITE) {
      const word = text.slice(starts[at], ends[at])
      value = tokenValue(kind, word)
      if (kind === T.QUOTED_NAME && kinds[at + 1] !== T.PAREN_OPEN && isPlain(value)) kind = T.IDENT
    }
    found += `${kind}:${value.length}:${value} `
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

/** A name that is the same without its quotes, and no word of the language. */
function isPlain(name: string): boolean {
  return /^[a-z][a-z0-9_]*$/.test(name) && wordKind(name, 0, name.length) === T.IDENT
}
