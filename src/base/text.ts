/** Names that somebody else chose, brought to a bound. */

/** Stands at the end of a text of which something is missing. */
export const cutMark = '…'

/** At most `lengthMax` UTF-16 units, `cutMark` at the end where more were given. Well-formed: no half of a surrogate pair is left. */
export function cutText(text: string, lengthMax: number): string {
  if (text.length <= lengthMax) return text.toWellFormed()
  let end = lengthMax - cutMark.length
  // A pair is left out whole.
  if ((text.charCodeAt(end - 1) & 0xfc00) === 0xd800) end--
  return text.slice(0, end).toWellFormed() + cutMark
}
