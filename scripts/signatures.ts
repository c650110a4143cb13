/**
 * Parameter lists: of functions, methods, constructors and function types, found by their form. Long ones are read wrongly, and a range of
 * bytes that is handed on as three parameters is an object that has no name (`docs/decisions/0018-where-bytes-go-as-three.md`).
 */

export interface Signature {
  readonly line: number
  /** As they are declared; what is taken apart counts as one. */
  readonly parameters: readonly string[]
}

/** A name or a pattern, with its type or its default. */
const declared = /^(?:\.\.\.)?(?:[\w$]+\??|[{[][\s\S]*[}\]])\s*[:=]/
const plainName = /^[\w$]+$/

export function signatures(source: string): Signature[] {
  const text = blanked(source)
  const found: Signature[] = []
  for (let at = text.indexOf('('); at >= 0; at = text.indexOf('(', at + 1)) {
    const end = closing(text, at)
    const behind = /^\s*(=>|:|\{)/.exec(text.slice(end + 1))?.[1]
    if (behind === undefined) continue
    const parameters = parted(text.slice(at + 1, end))
    // Without types it is an arrow's, or a condition.
    const isList = (one: string): boolean => declared.test(one) || (behind === '=>' && plainName.test(one))
    if (parameters.length === 0 || !parameters.every(isList)) continue
    found.push({ line: text.slice(0, at).split('\n').length, parameters })
  }
  return found
}

/** `buffer`, `start` and `end`, one behind the other, whatever their names. */
export function bytesAsThree({ parameters }: Signature): boolean {
  return parameters.some(
    (one, index) =>
      /: Buffer$/.test(one) &&
      /: number$/.test(parameters[index + 1] ?? '') &&
      /: number$/.test(parameters[index + 2] ?? ''),
  )
}

/** Comments and the insides of texts are blanks. */
function blanked(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\/|\/\/.*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g, (match) =>
    match.replace(/[^\n]/g, ' '),
  )
}

/** Where the bracket that opens at `from` is closed. */
function closing(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    if ('([{'.includes(text[at]!)) depth++
    else if (')]}'.includes(text[at]!) && --depth === 0) return at
  }
  return text.length
}

function parted(list: string): string[] {
  const parts: string[] = []
  let depth = 0
  let part = ''
  for (const [at, character] of [...list].entries()) {
    if ('([{<'.includes(character)) depth++
    else if (')]}'.includes(character) || (character === '>' && list[at - 1] !== '=')) depth--
    if (character === ',' && depth === 0) {
      parts.push(part.trim())
      part = ''
    } else part += character
  }
  return [...parts, part.trim()].filter((one) => one !== '')
}
