/**
 * Caches that are made by hand: a Map of which the oldest go, or all, when it is full. `src/base/cache.ts` has what takes their place. Where
 * a plain Map is right, a comment above the line says why, and begins with `No LRU:`.
 */

const kinds: readonly RegExp[] = [
  // The first key is taken, to be deleted.
  /\.(?:keys|values|entries)\(\)\.next\(\)/,
  // All go at once when it is full.
  /\.size (?:>=?|===) [^{]*\.clear\(\)/,
  // A loop over the oldest ends when few enough are left.
  /\.size <=? [\w.#]+\) break\b/,
  // Something goes while, or where, there are too many.
  /\b(?:while|if) \(.*\.size\b.* >=? (?!0\b).*(?:forget|delete|evict|oldest)/i,
  /\bnew LRUCache\b/,
]

/** One `line number: line` for each. */
export function handMadeCaches(source: string): string[] {
  const lines = source.split('\n')
  return lines.flatMap((line, at) => {
    const code = line.replace(/\/\/.*$/, '')
    // A condition and what it leads to may stand on two lines.
    const both = /\.size (?:>=?|===)[^{]*\{$/.test(code) ? `${code.replace(/\{$/, '')}${lines[at + 1]?.trim()}` : code
    if (!kinds.some((kind) => kind.test(both))) return []
    if (/\/\/ No LRU: \w+/.test(lines[at - 1] ?? '')) return []
    return [`${at + 1}: ${line.trim()}`]
  })
}
