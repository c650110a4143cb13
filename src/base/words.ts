/** Words of errors about what people write. */

/** The candidate that was probably meant: at most two edits away (one for short words), case ignored; undefined when none is near. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let editsMax = word.length <= 3 ? 1 : 2
  if (word.length > 64) return undefined
  const written = word.toLowerCase()
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) > lengthsApartMax) continue
    const edits = editsUpTo(editsMax, written, candidate.toLowerCase())
    if (edits > editsMax) continue
    best = candidate
    editsMax = edits - 1
    if (editsMax < 0) break
  }
  return best
}

/** `"x" is not …; did you mean "y"?` with what is valid; for schemas and validators that word their own refusals. */
export function unknownWord(what: string, word: string, candidates: Iterable<string>): string {
  const valid = [...candidates]
  const meant = nearest(word, valid)
  const hint = meant === undefined ? '' : `, did you mean ${quote(meant)}?`
  return `unknown ${what} ${quote(word)}${hint}${valid.length === 0 ? '' : `${hint === '' ? ';' : ''} valid: ${list(valid)}`}`
}

export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text)
}

export function list(words: Iterable<string>): string {
  return [...words].join(', ')
}

export function lowerFirst(text: string): string {
  return /^[A-Z][a-z]/.test(text) ? text[0]!.toLowerCase() + text.slice(1) : text
}

/** More than the edits that count, for a letter may be two in lower case. */
const lengthsApartMax = 8

/**
 * Damerau-Levenshtein distance with adjacent swaps, by the usual three rows; something greater than `max` where it is more. What is looked at for
 * 100,000 candidates is little: nothing of those that are too long or short, and of each row what is `max` beside the diagonal.
 */
function editsUpTo(max: number, a: string, b: string): number {
  const over = max + 1
  if (Math.abs(a.length - b.length) > max) return over
  // What both begin and end with counts for nothing.
  let start = 0
  while (start < a.length && a[start] === b[start]) start++
  let [rows, columns] = [a.length - start, b.length - start]
  while (rows > 0 && columns > 0 && a[start + rows - 1] === b[start + columns - 1]) {
    rows--
    columns--
  }
  let beforePrevious: number[] = []
  let previous: number[] = []
  for (let column = 0; column <= Math.min(columns, max); column++) previous.push(column)
  for (let row = 1; row <= rows; row++) {
    const current: number[] = []
    const [from, to] = [Math.max(0, row - max), Math.min(columns, row + max)]
    let least = over
    for (let column = from; column <= to; column++) {
      const cost = column === 0 ? row : costAt(row, column, current)
      current[column] = cost
      least = Math.min(least, cost)
    }
    if (least > max) return over
    beforePrevious = previous
    previous = current
  }
  return previous[columns] ?? over

  function costAt(row: number, column: number, current: readonly number[]): number {
    const [one, other] = [a[start + row - 1], b[start + column - 1]]
    // What is further from the diagonal is too far.
    const cost = Math.min(
      (previous[column] ?? over) + 1,
      (current[column - 1] ?? over) + 1,
      (previous[column - 1] ?? over) + (one === other ? 0 : 1),
    )
    const swapped = row > 1 && column > 1 && one === b[start + column - 2] && a[start + row - 2] === other
    return swapped ? Math.min(cost, (beforePrevious[column - 2] ?? over) + 1) : cost
  }
}
