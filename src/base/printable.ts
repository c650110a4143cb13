/**
 * Text of strangers where people read it: in the record, in logs, on a terminal.
 *
 * Rule: what is not seen for what it is stands as `\uXXXX`. Seen are letters, numbers, punctuation, symbols and the plain space, and marks
 * on a letter or a number. Not seen are controls, formatting and bidirectional marks, spaces of other widths, line and paragraph
 * separators, halves of surrogate pairs, and what is private or unassigned. Nor are letters and symbols that are blank: Unicode's own list
 * of what may be ignored, and `blank`.
 */

/** Letters and symbols that Unicode does not count among those that may be ignored, and that show nothing. */
const blank = '\\u2800\\u{13441}\\u{13442}\\u{16fe4}\\u{1d159}\\u{1107f}'
/** A letter may bear so many marks; more of them run into the lines above and below. */
const marksMax = 4

const hidden =
  '\\p{Cc}\\p{Cf}\\p{Cs}\\p{Co}\\p{Cn}\\p{Zl}\\p{Zp}\\p{Default_Ignorable_Code_Point}\\u{115f}\\u{1160}\\u{3164}\\u{ffa0}\\u{fff9}-\\u{ffff}'
const notSeen = new RegExp(`[${hidden}${blank}]|(?! )\\p{Zs}|(?<![\\p{L}\\p{N}]\\p{M}{0,${marksMax - 1}})\\p{M}`, 'gu')
const plain = /^[ -~]*$/

/** The text with everything that is not seen as `\uXXXX`, by UTF-16 units. */
export function printable(text: string): string {
  return plain.test(text) ? text : text.replace(notSeen, unicodeEscapes)
}

function unicodeEscapes(character: string): string {
  let escaped = ''
  for (let i = 0; i < character.length; i++) escaped += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`
  return escaped
}
