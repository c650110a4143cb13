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
import { keywordKinds, T } from './tokens.ts'

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
      if (step === SPACE) {
        at += 1
        continue
      }
      if (step !== 0) {
        kind = step
        at += 1
      } else if (classes[code]! & LETTER) {
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
      } else if (classes[code]! & DIGIT) {
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
      throw new RingfenceError('INVALID', `statement has more than ${limits.statementTokensMax} tokens`)
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

/** `line L:C`, both from 1 and 0 as ANTLR counts them. */
export function position(text: string, at: number): string {
  let line = 1
  let lineStart = 0
  for (let newline = text.indexOf('\n'); newline >= 0 && newline < at; newline = text.indexOf('\n', newline + 1)) {
    line += 1
    lineStart = newline + 1
  }
  return `line ${line}:${at - lineStart}`
}

const SPACE = 255
const LETTER = 1
const DIGIT = 2
const HEX_DIGIT = 4
const WORD = 8

/** Characters that are a token by themselves whatever follows, and white space. */
const single = new Uint8Array(128)
for (const space of ' \t\n\r') single[space.charCodeAt(0)] = SPACE
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

const classes = new Uint8Array(128)
for (let code = 48; code < 58; code += 1) classes[code] = DIGIT | HEX_DIGIT | WORD
for (let code = 65; code < 91; code += 1) {
  const hex = code < 71 ? HEX_DIGIT : 0
  classes[code] = LETTER | WORD | hex
  classes[code + 32] = LETTER | WORD | hex
}
classes[95 /* _ */] = WORD

function has(text: string, at: number, wanted: number): boolean {
  const code = text.charCodeAt(at)
  return code < 128 && (classes[code]! & wanted) !== 0
}

function wordEnd(text: string, start: number): number {
  let at = start + 1
  while (has(text, at, WORD)) at += 1
  return at
}

function digitsEnd(text: string, start: number): number {
  let at = start
  while (has(text, at, DIGIT)) at += 1
  return at
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

// --- numbers -----------------------------------------------------------------------------------------------------------

/** Where the token ended that `scanNumber` or `scanNegative` found; one number instead of an object per token. */
let numberEnd = 0

/**
 * A token that starts with a digit at `digits`; `start` is the place of its sign if it has one.
 *
 * ANTLR's lexer does not take the longest token that matches: it commits to the only rule that the characters so far leave
 * possible, and fails when that rule then does not match. So `1e`, `7u`, `1d2` and `12345678-1` are errors, not two tokens.
 */
function scanNumber(text: string, start: number, digits: number): number {
  const afterDigits = digitsEnd(text, digits)
  const next = text.charCodeAt(afterDigits)
  if (start === digits) {
    if (afterDigits === start + 1 && (next | 32) === 120 /* x */ && text.charCodeAt(start) === 48) {
      numberEnd = start + 2
      while (has(text, numberEnd, HEX_DIGIT)) numberEnd += 1
      return T.HEX
    }
    // A number alone never reaches beyond the digits of a UUID's first group without one of these.
    if (afterDigits - start <= 8 && (next === 45 || has(text, afterDigits, HEX_DIGIT))) {
      const uuid = uuidPrefixEnd(text, start)
      if (uuid === start + 36 || uuid > viableNumberEnd(text, start, afterDigits)) {
        numberEnd = uuidEnd(text, start)
        return T.UUID
      }
    }
  }
  if (next === 46 /* . */) {
    // `1..2` is a range of integers and `1...2` one of a float, as in the FLOAT rule of Lexer.g.
    if (text.charCodeAt(afterDigits + 1) === 46) {
      const range = text.charCodeAt(afterDigits + 2) === 46 ? afterDigits + 1 : afterDigits
      numberEnd = range
      return range === afterDigits ? T.INTEGER : T.FLOAT
    }
    numberEnd = exponentEnd(text, start, digitsEnd(text, afterDigits + 1))
    return T.FLOAT
  }
  if ((next | 32) === 101 /* e */) {
    numberEnd = exponentEnd(text, start, afterDigits)
    return T.FLOAT
  }
  if (isDurationUnit(next)) {
    numberEnd = durationEnd(text, start, afterDigits)
    return T.DURATION
  }
  numberEnd = afterDigits
  return T.INTEGER
}

/** How far the characters could be the start of a float or duration whose first digits end at `at`. */
function viableNumberEnd(text: string, start: number, at: number): number {
  const next = text.charCodeAt(at) | 32
  if (next === 101 /* e */) {
    const sign = text.charCodeAt(at + 1)
    return digitsEnd(text, sign === 43 || sign === 45 ? at + 2 : at + 1)
  }
  // Of the units, only `d` is a hexadecimal digit as well.
  let end = at
  while ((text.charCodeAt(end) | 32) === 100 && end - start < 36) {
    const more = digitsEnd(text, end + 1)
    if (more === end + 1) return more
    end = more
  }
  return isDurationUnit(text.charCodeAt(end)) && end > at ? end + 1 : end
}

/** A token that starts with `-`. */
function scanNegative(text: string, start: number, next: number): number {
  if (next >= 48 && next <= 57) return scanNumber(text, start, start + 1)
  if (next === 80 /* P */) {
    numberEnd = isoDurationEnd(text, start + 1)
    if (numberEnd < 0) throw unreadable(text, start, 'malformed duration')
    return T.DURATION
  }
  const notFinite = (next | 32) === 110 ? 'nan' : (next | 32) === 105 ? 'infinity' : ''
  if (notFinite !== '' && next >= 65) {
    for (let at = 0; at < notFinite.length; at += 1) {
      if ((text.charCodeAt(start + 1 + at) | 32) !== notFinite.charCodeAt(at)) {
        throw unreadable(text, start, 'no such token')
      }
    }
    numberEnd = start + 1 + notFinite.length
    return T.NOT_FINITE
  }
  numberEnd = start + 1
  return T.MINUS
}

/** The end of the exponent that may stand at `at`. */
function exponentEnd(text: string, start: number, at: number): number {
  if ((text.charCodeAt(at) | 32) !== 101 /* e */) return at
  const sign = text.charCodeAt(at + 1)
  const digits = sign === 43 || sign === 45 ? at + 2 : at + 1
  const end = digitsEnd(text, digits)
  if (end === digits) throw unreadable(text, start, 'exponent without digits')
  return end
}

/** Whether y, mo, w, d, h, m, s, ms, us, µs or ns can start with this character. */
function isDurationUnit(code: number): boolean {
  switch (code) {
    case 0xb5: // µ
      return true
    case 121: // y
    case 119: // w
    case 100: // d
    case 104: // h
    case 109: // m
    case 115: // s
    case 117: // u
    case 110: // n
      return true
    default:
      return code >= 65 && code <= 90 && isDurationUnit(code | 32)
  }
}

/** The end of a duration whose first unit is at `unit`. */
function durationEnd(text: string, start: number, unit: number): number {
  let at = unit
  for (;;) {
    const code = text.charCodeAt(at)
    if (!isDurationUnit(code)) throw unreadable(text, start, 'malformed duration')
    const next = text.charCodeAt(at + 1) | 32
    const letter = code | 32
    if (letter === 109) at += next === 111 || next === 115 ? 2 : 1
    else if (letter === 117 || letter === 110 || code === 0xb5) {
      if (next !== 115 /* s */) throw unreadable(text, start, 'malformed duration')
      at += 2
    } else at += 1
    const digits = digitsEnd(text, at)
    if (digits === at) return at
    at = digits
  }
}

/** What may follow the `P` of an ISO 8601 duration. */
function isDurationStart(code: number): boolean {
  return code === 84 || (code >= 48 && code <= 57)
}

/** The end of an ISO 8601 duration whose `P` is at `start`; -1 where it is malformed. */
function isoDurationEnd(text: string, start: number): number {
  let at = start + 1
  if (text.charCodeAt(at) !== 84 /* T */) {
    at = isoPartEnd(text, at, 'YMD')
    if (at < 0) {
      const digits = digitsEnd(text, start + 1)
      if (digits > start + 1 && text.charCodeAt(digits) === 87 /* W */) return digits + 1
      return isoAlternativeEnd(text, start)
    }
    if (text.charCodeAt(at) !== 84) return at
  }
  return isoPartEnd(text, at + 1, 'HMS')
}

/** The end of one or more numbers, each with a unit out of `units` in their order; -1 where there is none. */
function isoPartEnd(text: string, start: number, units: string): number {
  let at = start
  for (let unit = 0; ; unit += 1) {
    const digits = digitsEnd(text, at)
    if (digits === at) return at === start ? -1 : at
    unit = units.indexOf(text.charAt(digits), unit)
    if (unit < 0 || digits === text.length) return -1
    at = digits + 1
  }
}

/** `P0000-00-00T00:00:00` */
function isoAlternativeEnd(text: string, start: number): number {
  const pattern = 'P0000-00-00T00:00:00'
  for (let at = 1; at < pattern.length; at += 1) {
    const wanted = pattern.charCodeAt(at)
    const code = text.charCodeAt(start + at)
    if (wanted === 48 ? !(code >= 48 && code <= 57) : code !== wanted) return -1
  }
  return start + pattern.length
}

/** How far the characters could be the start of a UUID. */
function uuidPrefixEnd(text: string, start: number): number {
  for (let at = 0; at < 36; at += 1) {
    if (at === 8 || at === 13 || at === 18 || at === 23) {
      if (text.charCodeAt(start + at) !== 45) return start + at
    } else if (!has(text, start + at, HEX_DIGIT)) return start + at
  }
  return start + 36
}

function uuidEnd(text: string, start: number): number {
  const end = uuidPrefixEnd(text, start)
  if (end !== start + 36) throw unreadable(text, start, 'malformed uuid')
  return end
}

// --- keywords ----------------------------------------------------------------------------------------------------------

/** Open addressing over a hash of the letters with bit 5 set: exact for ASCII word characters, and no string is made. */
const tableSize = 1024
const tableWords: (string | undefined)[] = new Array(tableSize)
const tableKinds = new Uint8Array(tableSize)
const longestKeyword = 14
for (const [word, kind] of keywordKinds) {
  let slot = hashWord(word, 0, word.length)
  while (tableWords[slot] !== undefined) slot = (slot + 1) % tableSize
  tableWords[slot] = word
  tableKinds[slot] = kind
}

function hashWord(text: string, start: number, end: number): number {
  let hash = 0
  for (let at = start; at < end; at += 1) hash = (hash * 31 + (text.charCodeAt(at) | 32)) & 0xffffff
  return (hash ^ (hash >> 10)) % tableSize
}

function wordKind(text: string, start: number, end: number): number {
  const length = end - start
  if (length > longestKeyword || length < 2) return T.IDENT
  let slot = hashWord(text, start, end)
  for (;;) {
    const word = tableWords[slot]
    if (word === undefined) return T.IDENT
    if (word.length === length) {
      let at = 0
      while (at < length && (word.charCodeAt(at) | 32) === (text.charCodeAt(start + at) | 32)) at += 1
      if (at === length) return tableKinds[slot]!
    }
    slot = (slot + 1) % tableSize
  }
}

// --- messages ----------------------------------------------------------------------------------------------------------

function codePoint(text: string, at: number): string {
  return `U+${(text.codePointAt(at) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`
}

function unreadable(text: string, at: number, what: string): RingfenceError {
  return new RingfenceError('SYNTAX', `${position(text, at)} ${what}`)
}
