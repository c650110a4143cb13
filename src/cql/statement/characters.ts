/** ASCII characters as the lexer tells them apart, and the errors that name a place. */
import { RingfenceError } from '../../base/errors.ts'

export const LETTER = 1
export const DIGIT = 2
export const HEX_DIGIT = 4
export const WORD = 8

export const classes = new Uint8Array(128)
for (let code = 48; code < 58; code += 1) classes[code] = DIGIT | HEX_DIGIT | WORD
for (let code = 65; code < 91; code += 1) {
  const hex = code < 71 ? HEX_DIGIT : 0
  classes[code] = LETTER | WORD | hex
  classes[code + 32] = LETTER | WORD | hex
}
classes[95 /* _ */] = WORD

export function has(text: string, at: number, wanted: number): boolean {
  const code = text.charCodeAt(at)
  return code < 128 && (classes[code]! & wanted) !== 0
}

export function wordEnd(text: string, start: number): number {
  let at = start + 1
  while (has(text, at, WORD)) at += 1
  return at
}

export function digitsEnd(text: string, start: number): number {
  let at = start
  while (has(text, at, DIGIT)) at += 1
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
