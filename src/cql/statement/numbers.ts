/**
 * Numbers, durations, UUIDs and blobs: the rules INTEGER, FLOAT, DURATION, HEXNUMBER and UUID of `Lexer.g`, with ANTLR's way of
 * choosing between them.
 */
import { digitsEnd, has, hexDigit, unreadable } from './characters.ts'
import { T } from './tokens.ts'

/** Where the token ended that `scanNumber` or `scanNegative` found; one number instead of an object per token. */
export let numberEnd = 0

/**
 * A token that starts with a digit at `digits`; `start` is the place of its sign if it has one.
 *
 * ANTLR's lexer does not take the longest token that matches: it commits to the only rule that the characters so far leave
 * possible, and fails when that rule then does not match. So `1e`, `7u`, `1d2` and `12345678-1` are errors, not two tokens.
 */
export function scanNumber(text: string, start: number, digits: number): number {
  const afterDigits = digitsEnd(text, digits)
  const next = text.charCodeAt(afterDigits)
  if (start === digits) {
    if (afterDigits === start + 1 && (next | 32) === 120 /* x */ && text.charCodeAt(start) === 48) {
      numberEnd = start + 2
      while (has(text, numberEnd, hexDigit)) numberEnd += 1
      return T.HEX
    }
    // A number alone never reaches beyond the digits of a UUID's first group without one of these.
    if (afterDigits - start <= 8 && (next === 45 || has(text, afterDigits, hexDigit))) {
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
export function scanNegative(text: string, start: number, next: number): number {
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
export function isDurationStart(code: number): boolean {
  return code === 84 || (code >= 48 && code <= 57)
}

/** The end of an ISO 8601 duration whose `P` is at `start`; -1 where it is malformed. */
export function isoDurationEnd(text: string, start: number): number {
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
export function uuidPrefixEnd(text: string, start: number): number {
  for (let at = 0; at < 36; at += 1) {
    if (at === 8 || at === 13 || at === 18 || at === 23) {
      if (text.charCodeAt(start + at) !== 45) return start + at
    } else if (!has(text, start + at, hexDigit)) return start + at
  }
  return start + 36
}

export function uuidEnd(text: string, start: number): number {
  const end = uuidPrefixEnd(text, start)
  if (end !== start + 36) throw unreadable(text, start, 'malformed uuid')
  return end
}
