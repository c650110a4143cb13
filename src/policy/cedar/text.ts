/**
 * Cedar text out of names. Names are what people wrote or what a statement said, so every one goes through here: nothing in a name may
 * end a literal.
 */

/** A string literal. All but plain letters, digits and marks is written as `\u{…}`, so that what is shown is what is meant. */
export function cedarString(text: string): string {
  return `"${escaped(text)}"`
}

/** A pattern for `like`: the text as it stands, then anything. */
export function cedarBeginsWith(beginning: string): string {
  return `"${escaped(beginning).replaceAll('*', '\\*')}*"`
}

export function cedarEntity(type: string, id: string): string {
  return `${type}::${cedarString(id)}`
}

/** Nearly every name; it needs no tables of Unicode, which are 2 MB of a process that has not read them yet. */
const plain = /^[ !#-[\]-~]*$/

function escaped(text: string): string {
  if (plain.test(text)) return text
  return text.replace(/[^\p{L}\p{N} !#-[\]-~]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
}

/** `a && b && …`, or `true`. */
export function cedarAnd(tests: readonly string[]): string {
  return tests.length === 0 ? 'true' : tests.join(' && ')
}

/**
 * `(a || b || …)`. Cedar's parser and evaluator go one step deeper for each operand of a chain, and the stack of its WebAssembly holds
 * some hundreds, so long chains are halved.
 */
export function cedarOr(tests: readonly string[]): string {
  if (tests.length === 1) return tests[0]!
  if (tests.length <= chainMax) return `(${tests.join(' || ')})`
  const half = Math.ceil(tests.length / 2)
  return `(${cedarOr(tests.slice(0, half))} || ${cedarOr(tests.slice(half))})`
}

const chainMax = 16
