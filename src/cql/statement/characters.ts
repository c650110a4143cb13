/** ASCII characters as the lexer tells them apart, and the errors that name a place. */
import { RingfenceError } from '../../base/errors.ts'

export const letter = 1
export const digit = 2
export const hexDigit = 4
const word = 8

export const classes = new Uint8Array(128)
for (let code = 48; code < 58; code += 1) classes[code] = digit | hexDigit | word
for (let code = 65; code < 91; code += 1) {
  const hex = code < 71 ? hexDigit : 0
  classes[code] = letter | word | hex
  classes[code + 32] = letter | word | hex
}
classes[95 /* _ */] = word

export function has(text: string, at: number, wanted: number): boolean {
  const code = text.charCodeAt(at)
  return code < 128 && (classes[code]! & wanted) !== 0
}

export function wordEnd(text: string, start: number): number {
  let at = start + 1
  while (has(text, at, word)) at += 1
  return at
}

export function digitsEnd(text: string, start: number): number {
  let at = start
  while (has(text, at, digit)) at += 1
  return at
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

export function codePoint(text: string, at: number): string {
  return `U+${(text.codePointAt(at) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`
}

export function unreadable(text: string, at: number, what: string): RingfenceError {
  return new RingfenceError('SYNTAX', `${position(text, at)} ${what}`)
}
