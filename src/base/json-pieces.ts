/**
 * JSON of a large value in pieces, so that who writes it can let others go on between them: a policy of a megabyte, inside JSON inside JSON,
 * takes the event loop 15 ms in one go.
 *
 * Rule: all pieces together are what `JSON.stringify` makes.
 */

/** Characters of a string in one piece: half a millisecond where each needs a backslash. */
export const pieceChars = 32 * 1024
const entriesAPiece = 64

/** Of an object whose fields are plain data; its own strings and lists are divided, and nothing inside those. */
export function* jsonPieces(fields: Readonly<Record<string, unknown>>): Generator<string, void> {
  let before = '{'
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue
    yield `${before}${JSON.stringify(name)}:`
    before = ','
    if (typeof value === 'string') {
      yield '"'
      yield* escapedPieces(value)
      yield '"'
    } else if (Array.isArray(value)) yield* listPieces(value)
    else yield JSON.stringify(value)
  }
  yield before === '{' ? '{}' : '}'
}

function* listPieces(list: readonly unknown[]): Generator<string, void> {
  yield '['
  for (let from = 0; from < list.length; from += entriesAPiece) {
    const piece = JSON.stringify(list.slice(from, from + entriesAPiece))
    yield (from === 0 ? '' : ',') + piece.slice(1, -1)
  }
  yield ']'
}

/** What stands between the quotes of a string. */
export function* escapedPieces(text: string): Generator<string, void> {
  for (let from = 0; from < text.length; ) {
    let to = Math.min(from + pieceChars, text.length)
    // Half of a surrogate pair would be written as an escape.
    if (to < text.length && (text.charCodeAt(to - 1) & 0xfc00) === 0xd800) to++
    yield JSON.stringify(text.slice(from, to)).slice(1, -1)
    from = to
  }
}
