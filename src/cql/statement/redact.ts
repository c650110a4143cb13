/** The text of a statement for the record: names and structure stay, every literal becomes `?`, comments go. */
import { constants, names } from './keywords.ts'
import type { Tokens } from './lexer.ts'
import { firstKeyword, K, T } from './tokens.ts'

const redactedBytesMax = 4096

/**
 * Tokens `from` to `to`, one space between most of them, at most 4 KiB of UTF-8 (`…` at the end where it was cut).
 * The same for every spacing and comment of one statement.
 */
export function redact(tokens: Tokens, from: number, to: number): string {
  const { kinds, starts, ends, text } = tokens
  let out = ''
  let earlier: number = T.EOF
  let before: number = T.EOF
  for (let at = from; at < to && out.length <= redactedBytesMax; at += 1) {
    const kind = kinds[at]!
    if (spaced(earlier, before, kind)) out += ' '
    out += constants[kind] === 1 ? '?' : text.slice(starts[at], ends[at])
    earlier = before
    before = kind
  }
  return cut(out)
}

const tightBefore = tableOf(T.COMMA, T.PAREN_CLOSE, T.BRACKET_CLOSE, T.BRACE_CLOSE, T.SEMICOLON, T.DOT)
const tightAfter = tableOf(T.EOF, T.PAREN_OPEN, T.BRACKET_OPEN, T.BRACE_OPEN, T.DOT, T.EXPR)
/** A colon after one of these stands between key and value; else it opens a bind marker. */
const endsKey = tableOf(T.IDENT, T.QUOTED_NAME, T.QMARK, T.PAREN_CLOSE, T.BRACKET_CLOSE, T.BRACE_CLOSE)
const called = tableOf(T.IDENT, T.QUOTED_NAME, K.COUNT, K.TTL, K.WRITETIME, K.MAXWRITETIME, K.CAST, K.TOKEN)

function spaced(earlier: number, before: number, kind: number): boolean {
  if (tightAfter[before] === 1 || tightBefore[kind] === 1) return false
  if (kind === T.COLON) return !isKey(before)
  if (before === T.COLON) return isKey(earlier)
  if (kind === T.BRACKET_OPEN) return names[before] !== 1 || before >= firstKeyword
  return kind !== T.PAREN_OPEN || called[before] !== 1
}

function isKey(kind: number): boolean {
  return endsKey[kind] === 1 || constants[kind] === 1
}

function tableOf(...kinds: number[]): Uint8Array {
  const table = new Uint8Array(256)
  for (const kind of kinds) table[kind] = 1
  return table
}

function cut(text: string): string {
  const bytes = Buffer.from(text, 'utf8')
  if (bytes.length <= redactedBytesMax) return text
  const ellipsis = '…'
  let end = redactedBytesMax - Buffer.byteLength(ellipsis)
  while ((bytes[end]! & 0xc0) === 0x80) end -= 1
  return bytes.toString('utf8', 0, end) + ellipsis
}
