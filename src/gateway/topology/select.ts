/**
 * Recognises the SELECTs that a driver sends to learn the ring, and refuses the other ways of reading the same tables.
 *
 * Every text falls into one of three: not about these tables (`undefined`: goes on to a sidecar), understood
 * (`SystemSelect`: answered here), or about these tables in a form not understood (`UnsupportedSelect`: answered INVALID).
 * Invariant: no text that Cassandra reads as a SELECT of these tables' columns is `undefined`. FROM is a reserved word, so
 * the first one outside quotes and comments is the FROM clause, whatever stands before it.
 */
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { constants, functionNames, names } from '../../cql/statement/keywords.ts'
import { lex, type Tokens } from '../../cql/statement/lexer.ts'
import { K, kindName, T } from '../../cql/statement/tokens.ts'
import { columnOf, type SystemColumn, type SystemTable, systemColumns } from './columns.ts'
import { cellOfLiteral } from './values.ts'

/** `column = value`; a `number` is the index of a bind marker, a buffer the serialised literal. */
export interface Condition {
  readonly column: SystemColumn
  readonly value: Buffer | number
}

export type Selection =
  | { readonly kind: 'columns'; readonly columns: readonly { readonly column: SystemColumn; readonly label: string }[] }
  | { readonly kind: 'count'; readonly label: string }

export interface Marker {
  /** `undefined` for `?`; otherwise as written after the colon, folded unless quoted. */
  readonly name: string | undefined
  /** What the value is for: a column of the table, or the row limit. */
  readonly target: SystemColumn | 'limit'
}

export interface SystemSelect {
  readonly table: SystemTable
  readonly selection: Selection
  readonly where: readonly Condition[]
  /** Rows at most; an object names the bind marker that says. */
  readonly limit: number | { readonly marker: number } | undefined
  /** Bind markers in order of appearance: values must be handed to `answerSystemSelect` in this order. */
  readonly markers: readonly Marker[]
}

/** About these tables, but in a form that is not answered; `unsupported` is a text for the client. */
export interface UnsupportedSelect {
  readonly unsupported: string
}

/** More selectors than the widest table has columns serve nobody but an attacker, who gets 1 MiB of them for 1 MiB of text. */
const selectorsMax = 64
const shownCharactersMax = 40

/**
 * Cheap where the tables are not named at all, exact where they are.
 *
 * @param keyspaceInForce the message's keyspace or the connection's; decides what an unqualified table means
 */
export function matchSystemSelect(
  text: string,
  keyspaceInForce?: string,
): SystemSelect | UnsupportedSelect | undefined {
  // A table's name is one token, so a text without these letters in a row cannot name one.
  if (text.length > QUESTION_MAX || !/local|peers/i.test(text)) return undefined
  const tokens = lexOrNothing(text)
  if (tokens === undefined || tokens.kinds[0] !== K.SELECT) return undefined
  const from = tokens.kinds.indexOf(K.FROM)
  if (from < 0) return undefined
  const target = tableAfter(tokens, from + 1, keyspaceInForce)
  if (target === undefined) return undefined
  try {
    return new SelectParser(tokens, target.table).select(from, target.next)
  } catch (error) {
    if (error instanceof Unsupported) return { unsupported: error.message }
    throw error
  }
}

/** No driver asks at such length; what is longer goes to a sidecar, which refuses it if it is about these tables. */
const QUESTION_MAX = 16 * 1024

/** What does not lex is not a statement; the sidecar, which has the same lexer, says so with a position. */
function lexOrNothing(text: string): Tokens | undefined {
  try {
    return lex(text)
  } catch (error) {
    if (error instanceof RingfenceError) return undefined
    throw error
  }
}

class Unsupported extends Error {}

function tableAfter(tokens: Tokens, at: number, keyspaceInForce: string | undefined) {
  const qualified = tokens.kinds[at + 1] === T.DOT
  const keyspace = qualified ? nameAt(tokens, at) : keyspaceInForce
  const table = nameAt(tokens, qualified ? at + 2 : at)
  if (keyspace !== 'system') return undefined
  if (table !== 'local' && table !== 'peers' && table !== 'peers_v2') return undefined
  return { table: table as SystemTable, next: at + (qualified ? 3 : 1) }
}

/** The canonical name that stands at `at`; `undefined` where no name stands. */
function nameAt({ text, kinds, starts, ends }: Tokens, at: number): string | undefined {
  const kind = kinds[at]!
  if (names[kind] !== 1) return undefined
  if (kind === T.QUOTED_NAME) return text.slice(starts[at]! + 1, ends[at]! - 1).replaceAll('""', '"')
  return text.slice(starts[at], ends[at]).toLowerCase()
}

/** One pass over the tokens of `SELECT <selectors> FROM <table> [WHERE …] [LIMIT …] [ALLOW FILTERING] [;]`. */
class SelectParser {
  readonly #tokens: Tokens
  readonly #table: SystemTable
  readonly #markers: Marker[] = []
  #at = 1

  constructor(tokens: Tokens, table: SystemTable) {
    this.#tokens = tokens
    this.#table = table
  }

  select(from: number, afterTable: number): SystemSelect | undefined {
    const selection = this.#selection(from)
    this.#at = afterTable
    const where = this.#take(K.WHERE) ? this.#conditions() : []
    const limit = this.#take(K.LIMIT) ? this.#limit() : undefined
    const filtering = this.#take(K.ALLOW)
    if (filtering && !this.#take(K.FILTERING)) this.#refuse('ALLOW without FILTERING')
    while (this.#take(T.SEMICOLON));
    if (this.#kind() !== T.EOF) this.#refuse(`${this.#shown()} at this place`)
    this.#checkFiltering(where, filtering)
    if (selection !== undefined) return { table: this.#table, selection, where, limit, markers: this.#markers }
    // Functions of constants tell nothing of the row. A node may answer, unless a condition asks it about its addresses.
    if (this.#table === 'local' && where.every(({ column }) => column.role === 'partition')) return undefined
    throw this.#refusal('functions')
  }

  /** `undefined` for a list of functions of constants, such as `now()`. */
  #selection(from: number): Selection | undefined {
    if (this.#kind() === T.STAR && from === 2) {
      const columns = systemColumns[this.#table].map((column) => ({ column, label: column.name }))
      return { kind: 'columns', columns }
    }
    this.#refuseModifiers()
    const columns: { column: SystemColumn; label: string }[] = []
    let countLabel: string | undefined
    let selectors = 0
    do {
      if (++selectors > selectorsMax) this.#refuse(`more than ${selectorsMax} selectors`)
      if (this.#takeCountOfRows()) countLabel = this.#alias() ?? 'count'
      else if (this.#takeConstantCall()) this.#alias()
      else {
        const column = this.#column()
        columns.push({ column, label: this.#alias() ?? column.name })
      }
    } while (this.#take(T.COMMA))
    if (this.#at !== from) this.#refuse(`${this.#shown()} in the selection`)
    if (columns.length === selectors) return { kind: 'columns', columns }
    if (countLabel !== undefined && selectors === 1) return { kind: 'count', label: countLabel }
    if (countLabel === undefined && columns.length === 0) return undefined
    throw this.#refusal('a mixture of columns and functions')
  }

  /** JSON and DISTINCT are also allowed as names, where a comma, AS or FROM follows. */
  #refuseModifiers(): void {
    const [word, next] = [this.#kind(), this.#kind(1)]
    if (word !== K.JSON && word !== K.DISTINCT) return
    if (next !== T.COMMA && next !== K.AS && next !== K.FROM) this.#refuse(`SELECT ${this.#text().toUpperCase()}`)
  }

  /** `count(*)` and `count(1)`. */
  #takeCountOfRows(): boolean {
    if (this.#kind() !== K.COUNT || this.#kind(1) !== T.PAREN_OPEN || this.#kind(3) !== T.PAREN_CLOSE) return false
    if (this.#kind(2) !== T.STAR && this.#kind(2) !== T.INTEGER) return false
    this.#at += 4
    return true
  }

  /** A call whose arguments are constants and such calls: it can reach no column. Moves on only when it is one. */
  #takeConstantCall(depth = 0): boolean {
    if (depth > limits.nestingDepthMax) this.#refuse('such deep nesting')
    const start = this.#at
    if (functionNames[this.#kind()] === 1 && this.#kind(1) === T.PAREN_OPEN) {
      this.#at += 2
      if (this.#take(T.PAREN_CLOSE)) return true
      do {
        if (constants[this.#kind()] === 1) this.#at++
        else if (!this.#takeConstantCall(depth + 1)) break
        if (this.#take(T.PAREN_CLOSE)) return true
      } while (this.#take(T.COMMA))
    }
    this.#at = start
    return false
  }

  #alias(): string | undefined {
    return this.#take(K.AS) ? this.#name('an alias') : undefined
  }

  #column(): SystemColumn {
    const next = this.#kind(1)
    if (next === T.PAREN_OPEN || next === T.BRACKET_OPEN || next === T.DOT)
      this.#refuse('functions and parts of columns')
    const name = this.#name('a column')
    const column = columnOf(this.#table, name)
    if (column === undefined) throw new Unsupported(`Undefined column name ${name} in table system.${this.#table}`)
    return column
  }

  #conditions(): Condition[] {
    const conditions: Condition[] = []
    do {
      const column = this.#column()
      if (!this.#take(T.EQUALS)) this.#refuse('relations other than =')
      if (column.type.kind === 'set' || column.type.kind === 'map') this.#refuse('conditions on collections')
      if (conditions.some((earlier) => earlier.column === column)) {
        throw new Unsupported(`${column.name} cannot be restricted by more than one relation if it includes an Equal`)
      }
      conditions.push({ column, value: this.#marker(column) ?? this.#literal(column) })
    } while (this.#take(K.AND))
    return conditions
  }

  #literal(column: SystemColumn): Buffer {
    const kind = this.#kind()
    if (kind === K.NULL) throw new Unsupported(`Invalid null value in condition for column ${column.name}`)
    if (constants[kind] !== 1) throw this.#refusal('values other than constants and bind markers')
    const cell = cellOfLiteral(column.type, kind, this.#text())
    if (cell === undefined) {
      throw new Unsupported(`Invalid ${kindName(kind)} for "${column.name}" of type ${column.type.kind}`)
    }
    this.#at++
    return cell
  }

  #limit(): number | { readonly marker: number } {
    const marker = this.#marker('limit')
    if (marker !== undefined) return { marker }
    if (this.#kind() !== T.INTEGER) throw this.#refusal('a LIMIT that is no number')
    const limit = Number(this.#text())
    if (limit > 0x7fff_ffff) throw new Unsupported('Unable to make int from the LIMIT')
    if (limit <= 0) throw new Unsupported('LIMIT must be strictly positive')
    this.#at++
    return limit
  }

  /** The index of the bind marker that stands here, if one does. */
  #marker(target: Marker['target']): number | undefined {
    if (this.#take(T.QMARK)) return this.#markers.push({ name: undefined, target }) - 1
    if (!this.#take(T.COLON)) return undefined
    return this.#markers.push({ name: this.#name('the name of a bind marker'), target }) - 1
  }

  #checkFiltering(where: readonly Condition[], filtering: boolean): void {
    const roles = where.map(({ column }) => column.role)
    const byKey = !roles.includes('regular') && (roles.length === 0 || roles.includes('partition'))
    if (byKey || filtering) return
    throw new Unsupported(
      'Cannot execute this query as it might involve data filtering and thus may have unpredictable performance. ' +
        'If you want to execute this query despite the performance unpredictability, use ALLOW FILTERING',
    )
  }

  #kind(ahead = 0): number {
    return this.#tokens.kinds[Math.min(this.#at + ahead, this.#tokens.count)]!
  }

  #text(): string {
    const { text, starts, ends } = this.#tokens
    return text.slice(starts[this.#at], ends[this.#at])
  }

  /** The token for a message: literals, which may be secrets, by their kind only. */
  #shown(): string {
    const kind = this.#kind()
    return kind === T.EOF || constants[kind] === 1 ? kindName(kind) : `'${this.#text().slice(0, shownCharactersMax)}'`
  }

  #take(kind: number): boolean {
    const found = this.#kind() === kind
    if (found) this.#at++
    return found
  }

  #name(what: string): string {
    const name = nameAt(this.#tokens, this.#at)
    if (name === undefined) throw this.#refusal(`${this.#shown()} in place of ${what}`)
    this.#at++
    return name
  }

  #refusal(what: string): Unsupported {
    return new Unsupported(`the mesh answers system.${this.#table} itself and does not support ${what} there`)
  }

  #refuse(what: string): never {
    throw this.#refusal(what)
  }
}
