/** JSON as a token may have it: an object whose names each stand once, at every depth, so that no two readers see different claims. */

export type Json = string | number | boolean | null | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [name: string]: Json
}

const depthMax = 16

/** Undefined for what is no such object. */
export function parseStrictObject(text: string): JsonObject | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return namesStandOnce(text) ? (value as JsonObject) : undefined
}

/** Of JSON that parses: no object has a name twice, and none is nested deeper than `depthMax`. */
function namesStandOnce(text: string): boolean {
  /** The names so far of each object that is open; undefined for an array. */
  const open: (Set<string> | undefined)[] = []
  /** The next string is a name. */
  let isName = false
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '{' || character === '[') {
      if (open.push(character === '{' ? new Set() : undefined) > depthMax) return false
      isName = character === '{'
    } else if (character === '}' || character === ']') {
      open.pop()
      isName = false
    } else if (character === ',') {
      isName = open.at(-1) !== undefined
    } else if (character === '"') {
      const end = endOfString(text, at)
      if (isName) {
        const name = JSON.parse(text.slice(at, end + 1)) as string
        const names = open.at(-1)
        if (names === undefined || names.has(name)) return false
        names.add(name)
        isName = false
      }
      at = end
    }
  }
  return true
}

/** Where the quote stands that ends the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  let at = start + 1
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at
}
