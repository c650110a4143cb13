/**
 * Callbacks of the event loop that are handed over bare, so that an exception in one would end the process. `src/base/contained.ts` has
 * what takes their place.
 */

/** A handler that can't throw: it is a promise's own, or does nothing. */
const harmless = /^\s*(?:\(?\w*\)? => \{\}|(?:resolve|reject|wake|done|fail)\b|contained\()/

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
    const handler = /^\s*'[^']*',/.test(rest) ? rest.slice(rest.indexOf(',') + 1) : rest
    if (harmless.test(handler)) continue
    const line = text.slice(0, match.index).split('\n').length
    found.push(`${line}: ${lines[line - 1]?.trim()}`)
  }
  return found
}
