/**
 * BATCH texts: `batchStatement` of `Parser.g`. Loaders write one statement thousands of times with other literals. A statement that repeats
 * an earlier one is recognised by its tokens, and becomes the same object. So it is not read twice, and the facts of a large BATCH stay
 * small.
 *
 * Why that is safe: no rule for a write looks beyond its last token. What ends a write can't stand inside it. The parser depends on a
 * literal's content only where that is noted in `Cursor.contents` or `Cursor.amounts`.
 */
import type { Modification, Using } from './ast.ts'
import { type Cursor, integerOf } from './cursor.ts'
import { modification, usingClause } from './modify.ts'
import { firstKeyword, K, T } from './tokens.ts'

/** A statement met earlier in the BATCH. */
interface Shape {
  readonly statement: Modification
  /** Its tokens whose content counts. */
  readonly contents: readonly number[]
  readonly amounts: readonly number[]
}

/** Shapes of one hash that are tried; enough for the literals that count to vary, few enough that collisions gain nothing. */
const triesMax = 4
/** What a statement of a shape of its own costs, in facts, and one with amounts of its own. */
const shapeCost = 4
const amountsCost = 2

/** `batchStatement`, after the word BEGIN. */
export function batchStatement(cursor: Cursor): {
  readonly using: Using
  readonly children: readonly Modification[]
} {
  if (!cursor.accept(K.UNLOGGED)) cursor.accept(K.COUNTER)
  cursor.expect(K.BATCH)
  const using = usingClause(cursor)
  const children: Modification[] = []
  const shapes = new Map<number, Shape[]>()
  while (cursor.kind === K.INSERT || cursor.kind === K.UPDATE || cursor.kind === K.DELETE) {
    children.push(child(cursor, shapes))
    cursor.accept(T.SEMICOLON)
  }
  cursor.expect(K.APPLY)
  cursor.expect(K.BATCH)
  return { using, children }
}

function child(cursor: Cursor, shapes: Map<number, Shape[]>): Modification {
  const start = cursor.at
  const end = endOf(cursor)
  const hash = hashOf(cursor, start, end)
  const known = shapes.get(hash) ?? []
  for (const shape of known) {
    if (!repeats(cursor, shape, start, end)) continue
    const [from, to] = shape.statement.markers
    for (let marker = from; marker < to; marker += 1) cursor.markers.push(cursor.markers[marker])
    cursor.moveTo(end)
    return withAmounts(cursor, shape, start)
  }
  cursor.spend(shapeCost)
  const contents = cursor.contents.length
  const amounts = cursor.amounts.length
  const statement = modification(cursor)
  known.unshift({ statement, contents: cursor.contents.slice(contents), amounts: cursor.amounts.slice(amounts) })
  if (known.length > triesMax) known.pop()
  shapes.set(hash, known)
  return statement
}

/** Where the next statement or the end of the BATCH begins: its words are reserved, so they stand nowhere inside a statement. */
function endOf(cursor: Cursor): number {
  const { kinds, count } = cursor.tokens
  let at = cursor.at + 1
  while (at < count && !isEnd(kinds[at]!)) at += 1
  return at
}

function isEnd(kind: number): boolean {
  return kind === T.SEMICOLON || kind === K.INSERT || kind === K.UPDATE || kind === K.DELETE || kind === K.APPLY
}

function hashOf({ tokens: { text, kinds, starts, ends } }: Cursor, start: number, end: number): number {
  let hash = 0
  for (let at = start; at < end; at += 1) {
    const kind = kinds[at]!
    hash = (Math.imul(hash, 31) + kind) | 0
    if (!isWord(kind)) continue
    for (let place = starts[at]!; place < ends[at]!; place += 1)
      hash = (Math.imul(hash, 31) + text.charCodeAt(place)) | 0
  }
  return hash
}

/** Whether the text of such a token counts: of names, and of keywords, since `MAP(a)` and `map(a)` are two functions. */
function isWord(kind: number): boolean {
  return kind >= firstKeyword || kind === T.IDENT || kind === T.QUOTED_NAME
}

/** Whether the tokens from `start` to `end` are those of the shape, but for literals at which nobody looked and for amounts. */
function repeats(cursor: Cursor, { statement, contents }: Shape, start: number, end: number): boolean {
  const [from, to] = statement.tokens
  if (end - start !== to - from) return false
  const { kinds } = cursor.tokens
  const distance = start - from
  for (let at = from; at < to; at += 1) {
    const kind = kinds[at]!
    if (kind !== kinds[at + distance]) return false
    if (isWord(kind) && !sameText(cursor, at, at + distance)) return false
  }
  return contents.every((at) => sameText(cursor, at, at + distance))
}

function sameText({ tokens: { text, starts, ends } }: Cursor, one: number, other: number): boolean {
  const from = starts[one]!
  const distance = starts[other]! - from
  const end = ends[one]!
  if (ends[other]! - end !== distance) return false
  for (let at = from; at < end; at += 1) if (text.charCodeAt(at) !== text.charCodeAt(at + distance)) return false
  return true
}

/** The shape's statement itself, or where its USING has other numbers a copy with those. */
function withAmounts(cursor: Cursor, { statement, amounts }: Shape, start: number): Modification {
  const distance = start - statement.tokens[0]
  if (amounts.every((at) => sameText(cursor, at, at + distance))) return statement
  cursor.spend(amountsCost)
  let { ttl, timestamp } = statement
  for (const at of amounts) {
    const literal = integerOf(cursor, at + distance)
    // A marker in the shape came later than its literals, or there would be none: the last one counts.
    if (cursor.tokens.kinds[at - 1] === K.TTL) {
      if (ttl !== undefined && 'literal' in ttl) ttl = { literal }
    } else if (timestamp !== undefined && 'literal' in timestamp) timestamp = { literal }
  }
  return { ...statement, ttl, timestamp, like: statement }
}
