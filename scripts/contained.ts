/**
 * Callbacks of the event loop that are handed over bare, so that an exception in one would end the process. `src/base/contained.ts` has
 * what takes their place.
 */

/** A handler that can't throw: it is a promise's own, or does nothing. */
const harmless = /^\s*(?:\(?\w*\)? => \{\}|(?:resolve|reject|wake|done|fail)\b|contained\(|\([^()]*\) =>\s*contain\()/

const starters =
  /(?<![\w.#])(?:setTimeout|setInterval|setImmediate|queueMicrotask)\(|\.(?:then|catch|finally|on|once)\(|\bvoid (?=this\.#?\w+\()/g

/** One `line number: line` for each. */
export function bareCallbacks(source: string): string[] {
  const text = source
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/(^|[^\S\n])\/\/.*$/gm, '')
  const lines = source.split('\n')
  const found: string[] = []
  for (const match of text.matchAll(starters)) {
    const at = match.index + match[0].length
    const rest = text.slice(at)
    const named = match[0].startsWith('.on') && /^\s*(?:'[^']*'|\w+),/.test(rest)
    const handler = named ? rest.slice(rest.indexOf(',') + 1) : rest
    if (harmless.test(handler)) continue
    const line = text.slice(0, match.index).split('\n').length
    found.push(`${line}: ${lines[line - 1]?.trim()}`)
  }
  return found
}

/** What takes a reason and says it in words, as if it were always a peer's fault. */
const takers = /\bcatch \(reason\) \{|\(reason(?:: unknown)?\)(?:: \w+)? => \{|\breason: unknown\): \w+ \{/g

/** One `line number: line` for each place where a fault of ours would be logged as somebody else's, without a stack and uncounted. */
export function unstackedFaults(source: string): string[] {
  const found: string[] = []
  for (const match of source.matchAll(takers)) {
    const body = blockAt(source, match.index + match[0].length)
    const logs =
      /\blog\.(?:debug|info|warn|error)\(/.test(body) && /String\(reason\)|\bmessage\b|\bwordsOf\(reason\)/.test(body)
    if (!logs || /contain(?:Own)?Fault\(|\bthrow\b|\berr: reason\b/.test(body)) continue
    const line = source.slice(0, match.index).split('\n').length
    found.push(`${line}: ${source.split('\n')[line - 1]?.trim()}`)
  }
  return found
}

/** From behind a `{` to its `}`. */
function blockAt(source: string, from: number): string {
  let depth = 1
  for (let at = from; at < source.length; at++) {
    if (source[at] === '{') depth++
    else if (source[at] === '}' && --depth === 0) return source.slice(from, at)
  }
  return source.slice(from)
}
