/**
 * Text → tokens, exactly as `Lexer.g` of Apache Cassandra 5.0 does it. This is the security boundary: whatever this lexer
 * reads differently from Cassandra's is a way round the policy, so there are no helpful extras. One pass, no regular
 * expression, no copy of the text; differences are hunted by `test/oracle/`.
 *
 * Only space, tab, CR and LF are white space. `--` and `//` end at LF or a lone CR and must be ended; block comments do not
 * nest; strings know `''` and `$$…$$` and no backslash; unquoted names are ASCII.
 */
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { classes, codePoint, digit, digitsEnd, letter, unreadable, wordEnd } from './characters.ts'
import {
  isDurationStart,
  isoDurationEnd,
  numberEnd,
  scanNegative,
  scanNumber,
  uuidEnd,
  uuidPrefixEnd,
} from './numbers.ts'
import { T } from './tokens.ts'
import { wordKind } from './words.ts'

export interface Tokens {
  readonly text: string
  /** Tokens without the last one, which is always `EOF`. */
  readonly count: number
  readonly kinds: Uint8Array
  readonly starts: Int32Array
  readonly ends: Int32Array
}

/**
 * Splits a statement into tokens; comments and white space leave none.
 * @throws RingfenceError SYNTAX where Cassandra's lexer would fail; INVALID above statementBytesMax or statementTokensMax
 */
export function lex(text: string): Tokens {
  const length = text.length
  if (length > limits.statementBytesMax) {
    throw new RingfenceError('INVALID', `statement of ${length} characters is longer than ${limits.statementBytesMax}`)
  }
  const capacity = Math.min(length, limits.statementTokensMax) + 1
  const kinds = new Uint8Array(capacity)
  const starts = new Int32Array(capacity)
  const ends = new Int32Array(capacity)
  let count = 0
  let at = 0
  while (at < length) {
    const start = at
    const code = text.charCodeAt(at)
    let kind: number
    if (code < 128) {
      const step = single[code]!
      if (step === spaceMark) {
        at += 1
        continue
      }
      if (step !== 0) {
        kind = step
        at += 1
      } else if (classes[code]! & letter) {
        at = wordEnd(text, at)
        kind = wordKind(text, start, at)
        if (kind === T.IDENT) {
          if (at - start === 8 && text.charCodeAt(at) === 45 && uuidPrefixEnd(text, start) > at) {
            at = uuidEnd(text, start)
            kind = T.UUID
          } else if (code === 80 /* P */ && isDurationStart(text.charCodeAt(start + 1))) {
            const end = isoDurationEnd(text, start)
            if (end >= at) {
              at = end
              kind = T.DURATION
            } else if (at - start === 5 && text.charCodeAt(at) === 45 && digitsEnd(text, start + 1) === at) {
              throw unreadable(text, start, 'malformed duration')
            }
          } else if (code === 101 /* e */ && at - start === 4 && text.startsWith('expr(', start)) {
            at += 1
            kind = T.EXPR
          }
        }
      } else if (classes[code]! & digit) {
        kind = scanNumber(text, start, start)
        at = numberEnd
      } else {
        switch (code) {
          case 39 /* ' */:
            at = quotedEnd(text, start, 39)
            kind = T.STRING
            break
          case 34 /* " */:
            at = quotedEnd(text, start, 34)
            kind = at - start === 2 ? T.EMPTY_QUOTED_NAME : T.QUOTED_NAME
            break
          case 36 /* $ */:
            {
              const close = text.charCodeAt(at + 1) === 36 ? text.indexOf('$$', at + 2) : -1
              if (close < 0) throw unreadable(text, start, 'unterminated $$ string')
              at = close + 2
              kind = T.STRING
              break
            }
          case 45 /* - */:
            {
              const next = text.charCodeAt(at + 1)
              if (next === 45) {
                at = lineCommentEnd(text, start)
                continue
              }
              if (next === 61 /* = */) {
                kind = T.MINUS_EQUALS
                at += 2
              } else {
                kind = scanNegative(text, start, next)
                at = numberEnd
              }
              break
            }
          case 47 /* / */:
            {
              const next = text.charCodeAt(at + 1)
              if (next === 47) {
                at = lineCommentEnd(text, start)
                continue
              }
              if (next === 42 /* * */) {
                const close = text.indexOf('*/', at + 2)
                if (close < 0) throw unreadable(text, start, 'unterminated comment')
                at = close + 2
                continue
              }
              kind = T.SLASH
              at += 1
              break
            }
          case 43 /* + */:
            kind = text.charCodeAt(at + 1) === 61 ? T.PLUS_EQUALS : T.PLUS
            at += kind === T.PLUS_EQUALS ? 2 : 1
            break
          case 60 /* < */:
            kind = text.charCodeAt(at + 1) === 61 ? T.LESS_EQUALS : T.LESS
            at += kind === T.LESS_EQUALS ? 2 : 1
            break
          case 62 /* > */:
            kind = text.charCodeAt(at + 1) === 61 ? T.GREATER_EQUALS : T.GREATER
            at += kind === T.GREATER_EQUALS ? 2 : 1
            break
          case 33 /* ! */:
            if (text.charCodeAt(at + 1) !== 61) throw unreadable(text, start, 'unexpected character U+0021')
            kind = T.NOT_EQUALS
            at += 2
            break
          case 46 /* . */:
            kind = text.charCodeAt(at + 1) === 46 ? T.RANGE : T.DOT
            at += kind === T.RANGE ? 2 : 1
            break
          default:
            throw unreadable(text, start, `unexpected character ${codePoint(text, start)}`)
        }
      }
    } else {
      throw unreadable(text, start, `unexpected character ${codePoint(text, start)}`)
    }
    if (count + 1 >= capacity) {
      throw new RingfenceError(
        'INVALID',
        `statement has more tokens than statementTokensMax ${limits.statementTokensMax}`,
      )
    }
    kinds[count] = kind
    starts[count] = start
    ends[count] = at
    count += 1
  }
  kinds[count] = T.EOF
  starts[count] = length
  ends[count] = length
  return { text, count, kinds, starts, ends }
}

const spaceMark = 255

/** Characters that are a token by themselves whatever follows, and white space. */
const single = new Uint8Array(128)
for (const space of ' \t\n\r') single[space.charCodeAt(0)] = spaceMark
for (const [symbol, kind] of [
  ['?', T.QMARK],
  ['(', T.PAREN_OPEN],
  [')', T.PAREN_CLOSE],
  ['[', T.BRACKET_OPEN],
  [']', T.BRACKET_CLOSE],
  ['{', T.BRACE_OPEN],
  ['}', T.BRACE_CLOSE],
  [',', T.COMMA],
  [':', T.COLON],
  [';', T.SEMICOLON],
  ['*', T.STAR],
  ['%', T.PERCENT],
  ['=', T.EQUALS],
] as const) {
  single[symbol.charCodeAt(0)] = kind
}

function quotedEnd(text: string, start: number, quote: number): number {
  const mark = quote === 39 ? "'" : '"'
  for (let at = start + 1; ; ) {
    const close = text.indexOf(mark, at)
    if (close < 0) throw unreadable(text, start, quote === 39 ? 'unterminated string' : 'unterminated quoted name')
    if (text.charCodeAt(close + 1) !== quote) return close + 1
    at = close + 2
  }
}

function lineCommentEnd(text: string, start: number): number {
  for (let at = start + 2; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === 10 || code === 13) return at + 1
  }
  throw unreadable(text, start, 'comment without an end of line')
}
