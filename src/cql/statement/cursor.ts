/**
 * The parser's place in a statement, what it has met so far, and the small rules that all families share: names, markers,
 * functions. Every rule of `Parser.g` is one function over a `Cursor`, in the file of its family. Rules throw
 * RingfenceError SYNTAX where Cassandra's parser would; nothing that was not understood is passed over.
 */
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Mentions, QualifiedName } from './ast.ts'
import { position } from './characters.ts'
import type { Amount } from './facts.ts'
import { isNativeFunction } from './functions.ts'
import { basicUnreserved, columnNames, functionNames, names } from './keywords.ts'
import type { Tokens } from './lexer.ts'
import { K, kindName, T } from './tokens.ts'

/** A place to come back to: everything met after it is forgotten by `restore`. */
export interface Mark {
  readonly at: number
  readonly columns: number
  readonly functions: number
  readonly classes: number
  readonly markers: number
  readonly depth: number
}

/** What a failed attempt throws: the place is not asked for, and a thousand attempts must not cost a thousand stack traces. */
const attemptFailed = new RingfenceError('SYNTAX', 'attempt failed')

export class Cursor {
  readonly tokens: Tokens
  at = 0
  /** The kind of the token at `at`. */
  kind: number
  readonly columns: string[] = []
  readonly functions: QualifiedName[] = []
  /** Full names of the Java classes that properties, indexes and triggers name. */
  readonly classes: string[] = []
  readonly markers: (string | undefined)[] = []
  /** Markers before the statement at hand, which is not 0 inside a BATCH: the places in its facts count from there. */
  firstMarker = 0
  /** Tokens of literals whose content was looked at, in order: what the statement means depends on them. */
  readonly contents: number[] = []
  /** Tokens of the numbers in USING, LIMIT and their like. */
  readonly amounts: number[] = []
  /** Strings and markers that facts keep so far. */
  keptTexts = 0
  keptMarkers = 0
  /** Places where a parenthesis was tried as a type hint and was none; keeps trying linear. */
  readonly notTypeHint = new Set<number>()
  #depth = 0
  #attempts = 0
  #spent = 0
  #refusal: RingfenceError | undefined

  constructor(tokens: Tokens) {
    this.tokens = tokens
    this.kind = tokens.kinds[0]!
  }

  /** The kind of the token `ahead` of this one; EOF beyond the end. */
  peek(ahead: number): number {
    const at = this.at + ahead
    return at < this.tokens.count ? this.tokens.kinds[at]! : T.EOF
  }

  advance(): void {
    if (this.at < this.tokens.count) this.at += 1
    this.kind = this.tokens.kinds[this.at]!
  }

  moveTo(at: number): void {
    this.at = at
    this.kind = this.tokens.kinds[at]!
  }

  accept(kind: number): boolean {
    if (this.kind !== kind) return false
    this.advance()
    return true
  }

  expect(kind: number): void {
    if (this.kind !== kind) throw this.unexpected()
    this.advance()
  }

  /** The token's text as it stands. */
  text(at = this.at): string {
    return this.tokens.text.slice(this.tokens.starts[at], this.tokens.ends[at])
  }

  enter(): void {
    this.#depth += 1
    if (this.#depth > limits.nestingDepthMax) {
      throw new RingfenceError('INVALID', `statement nests deeper than ${limits.nestingDepthMax}`)
    }
  }

  leave(): void {
    this.#depth -= 1
  }

  /** Counts what will be an object of its own in the facts. */
  spend(count: number): void {
    this.#spent += count
    if (this.#spent > limits.statementFactsMax) {
      throw new RingfenceError('INVALID', `statement says more than statementFactsMax ${limits.statementFactsMax}`)
    }
  }

  /** Whether half of what may be said is: then nothing more is kept that facts can do without. */
  get isVerbose(): boolean {
    return this.#spent * 2 > limits.statementFactsMax
  }

  call(called: QualifiedName): void {
    if (!isNativeFunction(called.keyspace, called.name)) this.spend(1)
    this.functions.push(called)
  }

  mark(): Mark {
    return {
      at: this.at,
      columns: this.columns.length,
      functions: this.functions.length,
      classes: this.classes.length,
      markers: this.markers.length,
      depth: this.#depth,
    }
  }

  restore(mark: Mark): void {
    this.at = mark.at
    this.kind = this.tokens.kinds[mark.at]!
    this.columns.length = mark.columns
    this.functions.length = mark.functions
    this.classes.length = mark.classes
    this.markers.length = mark.markers
    this.#depth = mark.depth
  }

  /** A syntactic predicate: tries a rule, and forgets what it met if it does not match. */
  attempt(rule: (cursor: Cursor) => void): boolean {
    const mark = this.mark()
    const refusal = this.#refusal
    this.#attempts += 1
    try {
      rule(this)
    } catch (reason) {
      if (reason !== attemptFailed) throw reason
      this.restore(mark)
      this.#refusal = refusal
      return false
    } finally {
      this.#attempts -= 1
    }
    if (this.#attempts === 0 && this.#refusal !== undefined) throw this.#refusal
    return true
  }

  /**
   * Refuses what matches the grammar and is wrong in itself, as ANTLR's actions do: inside an attempt they do not run, so the
   * attempt goes on, and the refusal counts only if it succeeds.
   */
  refuse(message: string): void {
    if (this.#attempts === 0) throw this.failure(message)
    this.#refusal ??= new RingfenceError(
      'SYNTAX',
      `${position(this.tokens.text, this.tokens.starts[this.at]!)} ${message}`,
    )
  }

  /** What was met since `mark`. */
  mentions(mark: Mark): Mentions {
    return { columns: this.columns.slice(mark.columns), functions: this.functions.slice(mark.functions) }
  }

  /** Names the place and what stands there; literals by kind only, for a message must hold no secret. */
  unexpected(): RingfenceError {
    if (this.#attempts > 0) return attemptFailed
    const seen =
      this.kind === T.IDENT || this.kind >= 40 ? `'${this.text().slice(0, 64)}'` : seenSymbol(this.kind, this.text())
    return this.failure(`no viable alternative at ${seen}`)
  }

  failure(message: string): RingfenceError {
    if (this.#attempts > 0) return attemptFailed
    return new RingfenceError('SYNTAX', `${position(this.tokens.text, this.tokens.starts[this.at]!)} ${message}`)
  }
}

function seenSymbol(kind: number, text: string): string {
  const name = kindName(kind)
  return name === 'symbol' ? `'${text}'` : name
}

// --- names -------------------------------------------------------------------------------------------------------------

/** The canonical form of a name token: folded when not quoted, doubled quotes undone when quoted. */
export function nameOf(cursor: Cursor, at = cursor.at): string {
  const text = cursor.text(at)
  const kind = cursor.tokens.kinds[at]
  if (kind === T.QUOTED_NAME || kind === T.EMPTY_QUOTED_NAME) return text.slice(1, -1).replaceAll('""', '"')
  return text.toLowerCase()
}

/** The content of a string literal. */
export function stringOf(cursor: Cursor, at = cursor.at): string {
  cursor.contents.push(at)
  const text = cursor.text(at)
  return text.startsWith('$') ? text.slice(2, -2) : text.slice(1, -1).replaceAll("''", "'")
}

/** A string literal that means something by its content. */
export function stringLiteral(cursor: Cursor): string {
  const { at } = cursor
  cursor.expect(T.STRING)
  return stringOf(cursor, at)
}

/** A name out of the given table of kinds. */
export function name(cursor: Cursor, allowed: Uint8Array = names): string {
  if (allowed[cursor.kind] !== 1) throw cursor.unexpected()
  const canonical = nameOf(cursor)
  cursor.advance()
  return canonical
}

/** `cident`: a column, which counts as mentioned. */
export function column(cursor: Cursor): string {
  const canonical = name(cursor, columnNames)
  cursor.columns.push(canonical)
  return canonical
}

/** `(keyspace '.')? name` */
export function qualifiedName(cursor: Cursor, allowed: Uint8Array = names): QualifiedName {
  if (cursor.peek(1) !== T.DOT) return { keyspace: undefined, name: name(cursor, allowed) }
  const keyspace = name(cursor)
  cursor.advance()
  return { keyspace, name: name(cursor, allowed) }
}

/** `functionName` */
export function functionName(cursor: Cursor): QualifiedName {
  let keyspace: string | undefined
  if (cursor.peek(1) === T.DOT) {
    keyspace = name(cursor)
    cursor.advance()
  }
  return { keyspace, name: plainFunctionName(cursor) }
}

/** `allowedFunctionName`: an unreserved keyword keeps its case here, `MAP(a)` and `map(a)` are two functions. */
export function plainFunctionName(cursor: Cursor): string {
  const text = basicUnreserved[cursor.kind] === 1 ? cursor.text() : undefined
  const canonical = name(cursor, functionNames)
  return text ?? canonical
}

/** Whether a function call starts here: a function's name, qualified or not, and a parenthesis. */
export function startsCall(cursor: Cursor, ahead = 0): boolean {
  if (cursor.peek(ahead + 1) === T.PAREN_OPEN) return functionNames[cursor.peek(ahead)] === 1
  return (
    cursor.peek(ahead + 1) === T.DOT &&
    cursor.peek(ahead + 3) === T.PAREN_OPEN &&
    names[cursor.peek(ahead)] === 1 &&
    functionNames[cursor.peek(ahead + 2)] === 1
  )
}

// --- markers and small phrases -----------------------------------------------------------------------------------------

/** `marker`: `?` or `:name`. False where none stands here. */
export function acceptMarker(cursor: Cursor): boolean {
  if (cursor.kind === T.QMARK) {
    cursor.advance()
    cursor.markers.push(undefined)
    return true
  }
  if (cursor.kind !== T.COLON) return false
  cursor.advance()
  cursor.markers.push(name(cursor))
  return true
}

/** The place that the next marker will have among those of its statement. */
export function nextMarker(cursor: Cursor): number {
  return cursor.markers.length - cursor.firstMarker
}

/** `intValue` */
export function amount(cursor: Cursor): Amount {
  if (cursor.kind === T.INTEGER) {
    cursor.amounts.push(cursor.at)
    const literal = integerOf(cursor)
    cursor.advance()
    return { literal }
  }
  const marker = nextMarker(cursor)
  if (!acceptMarker(cursor)) throw cursor.unexpected()
  return { marker }
}

/**
 * The value of an integer token, however large.
 * @throws RingfenceError INVALID beyond 64 digits that count: Cassandra takes none of more than 19 where this is asked for
 */
export function integerOf(cursor: Cursor, at = cursor.at): bigint {
  const text = cursor.text(at)
  if (text.length <= 64) return BigInt(text)
  const negative = text.startsWith('-')
  let first = negative ? 1 : 0
  while (text.charCodeAt(first) === 48 /* 0 */) first += 1
  if (text.length - first > 64) throw new RingfenceError('INVALID', 'integer of more than 64 digits')
  const magnitude = BigInt(text.slice(first) || '0')
  return negative ? -magnitude : magnitude
}

/** `(IF NOT EXISTS)?` */
export function acceptIfNotExists(cursor: Cursor): boolean {
  if (!cursor.accept(K.IF)) return false
  cursor.expect(K.NOT)
  cursor.expect(K.EXISTS)
  return true
}

/** `(IF EXISTS)?` */
export function acceptIfExists(cursor: Cursor): boolean {
  if (!cursor.accept(K.IF)) return false
  cursor.expect(K.EXISTS)
  return true
}

/** `item (',' item)*` */
export function list(cursor: Cursor, item: (cursor: Cursor) => unknown): void {
  do item(cursor)
  while (cursor.accept(T.COMMA))
}

/** `item (',' item)*`, with what each gives. */
export function collect<Item>(cursor: Cursor, item: (cursor: Cursor) => Item): Item[] {
  const items: Item[] = []
  do items.push(item(cursor))
  while (cursor.accept(T.COMMA))
  return items
}
