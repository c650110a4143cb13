/** Words → kinds: keywords found without making a string. */
import { keywordKinds, T } from './tokens.ts'

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

/** The kind of the word from `start` to `end`: a keyword, a literal or a plain name. */
export function wordKind(text: string, start: number, end: number): number {
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
