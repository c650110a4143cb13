/** Words of errors about what people write. */

/** The candidate that was probably meant: at most two edits away (one for short words), case ignored; undefined when none is near. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = (word.length <= 3 ? 1 : 2) + 1
  if (word.length > 64) return undefined
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
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

/** Damerau-Levenshtein distance with adjacent swaps, by the usual three rows. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      let cost = Math.min(previous[column]! + 1, current[column - 1]! + 1, previous[column - 1]! + (same ? 0 : 1))
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (swapped) cost = Math.min(cost, beforePrevious[column - 2]! + 1)
      current.push(cost)
    }
    beforePrevious = previous
    previous = current
  }
  return previous[b.length]!
}
