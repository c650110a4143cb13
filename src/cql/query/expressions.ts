/** Expressions made into functions of a row: what the select list, GROUP BY and WHERE are made of. */

import { compositeKey } from '../partition-key.ts'
import { T } from '../statement/tokens.ts'
import { type CqlType, native } from '../types.ts'
import { decodeValue } from '../values.ts'
import { type Aggregate, aggregateNames, aggregateOf, aggregateType } from './aggregates.ts'
import { isAssignable, isUntyped } from './assignable.ts'
import { type Part, wrongCount } from './called.ts'
import { castOf } from './casts.ts'
import type { Compiled, Compiling, Frame } from './compiled.ts'
import { constantOf, preferredType } from './constants.ts'
import { fromJson } from './from-json.ts'
import { type Clock, resolveCall } from './functions.ts'
import { integral } from './integers.ts'
import { type Literal, literalOf } from './literals.ts'
import { isNumber, operate } from './numbers.ts'
import { operationOf, typeBeside } from './operations.ts'
import { elementOf, sliceOf, stampOf, textOf } from './parts.ts'
import { type TableShape, tokenOf } from './table.ts'
import type { Expression } from './tree.ts'
import { invalid, unsupported } from './unsupported.ts'

/** The values bound to the markers of a request. */
export interface BoundTo {
  /** Null also where there is none. A value that is not known yet may be any of `type`. */
  bytes(marker: number, type: CqlType): Buffer | null
  unset(marker: number): boolean
  /** They stand for values that come later. */
  readonly formOnly?: boolean
}

interface AggregateSlot {
  readonly name: string
  readonly type: CqlType
  /** Of each row. */
  readonly value: (frame: Frame) => Buffer | null
}

const one = Buffer.of(1)
/** Of all values of a question: no table that is asked about here has longer names. */
export const boundBytesMax = 32 * 1024

export class Compiler implements Compiling {
  readonly #shape: TableShape
  readonly #values: BoundTo
  readonly #clock: Clock
  readonly #columnAt: ReadonlyMap<string, number>
  /** Aggregates that were met, in order. */
  readonly aggregates: AggregateSlot[] = []
  /** Expressions that were met: what one row costs. */
  expressions = 0
  /** Of the values that were met. */
  #boundBytes = 0
  /** The types that markers were met with, by their places. */
  readonly markerTypes: CqlType[] = []

  constructor(shape: TableShape, values: BoundTo, clock: Clock) {
    this.#shape = shape
    this.#values = values
    this.#clock = clock
    this.#columnAt = new Map(shape.columns.map(({ name }, index) => [name, index]))
  }

  get shape(): TableShape {
    return this.#shape
  }

  /** Only what PREPARE says is wanted: a value that can only be wrong when the statement is executed is not looked at. */
  get formOnly(): boolean {
    return this.#values.formOnly === true
  }

  /** The place of a column that the table shows. */
  columnAt(name: string): number {
    const index = this.#columnAt.get(name) ?? -1
    if (index < 0 || index >= this.#shape.shown) {
      throw invalid(`Undefined column name ${name.slice(0, 256)} in table ${this.#shape.keyspace}.${this.#shape.name}`)
    }
    return index
  }

  /** What is bound to a marker: null also where nothing is. Throws `INVALID` where it is no value of the type. */
  bound(marker: number, type: CqlType): Buffer | null {
    this.markerTypes[marker] = type
    const bytes = this.#values.bytes(marker, type)
    if (bytes === null) return null
    this.#boundBytes += bytes.length
    if (this.#boundBytes > boundBytesMax) throw unsupported(`values of more than ${boundBytesMax} bytes`)
    try {
      decodeValue(type, bytes)
    } catch {
      throw invalid(`the value of marker ${marker} is no valid ${type.kind}`)
    }
    // It outlives the request that it stands in: a max may be the value of a marker.
    return Buffer.from(bytes)
  }

  unset(marker: number): boolean {
    return this.#values.unset(marker)
  }

  /** The states of the aggregates of one group. */
  fresh(): Aggregate[] {
    return this.aggregates.map(({ name, type }) => aggregateOf(name, type))
  }

  /** A value that no row changes, of the type that is wanted; null for null. */
  value(expression: Expression, wanted: CqlType): Buffer | null {
    const before = this.aggregates.length
    const { type, evaluate } = this.#term(expression, wanted)
    if (this.aggregates.length > before) throw invalid('aggregates are not supported in WHERE')
    if (!isAssignable(type, wanted)) throw invalid(`a value of type ${type.kind} stands for one of type ${wanted.kind}`)
    return evaluate(noRow)
  }

  /** As a value is compiled where it is known what for: only there `from_json` has a type. */
  #term(expression: Expression, wanted: CqlType): Compiled {
    if (expression.kind === 'group') return this.#term(expression.part, wanted)
    if (isLiteral(expression)) return this.#literal(expression, wanted, (part, type) => this.#term(part, type))
    if (expression.kind !== 'call' || !isFromJson(expression.name)) return this.compile(expression, wanted)
    const [part] = expression.parts
    if (part === undefined || expression.parts.length !== 1) throw wrongCount(expression.name)
    const text = this.compile(part, isUntyped(part) ? native('text') : undefined)
    if (!isAssignable(text.type, native('text'))) throw invalid(`${expression.name} takes a text`)
    const evaluate = (frame: Frame): Buffer | null => {
      const json = text.evaluate(frame)
      return json === null || this.formOnly ? null : fromJson(json.toString(), wanted)
    }
    return { type: wanted, name: undefined, evaluate }
  }

  compile(expression: Expression, wanted?: CqlType): Compiled {
    this.expressions++
    switch (expression.kind) {
      case 'column': {
        const index = this.columnAt(expression.name)
        const { name, type } = this.#shape.columns[index]!
        return { type, name, evaluate: ({ row }) => (row === undefined ? null : row.cell(index)) }
      }
      case 'stamp':
        return stampOf(expression, this)
      case 'constant': {
        const type = wanted ?? preferredType(expression.token, expression.text)
        if (type === undefined) throw invalid('a constant needs a type here: put one in front, as in (text) …')
        const bytes = constantOf(expression.token, expression.text, type)
        return { type, name: textOf(expression), evaluate: () => bytes }
      }
      case 'null':
        return { type: wanted ?? native('text'), name: textOf(expression), evaluate: () => null }
      case 'marker': {
        if (wanted === undefined) throw invalid('a marker needs a type here: put one in front, as in (text) ?')
        const bytes = this.bound(expression.index, wanted)
        return { type: wanted, name: '?', evaluate: () => bytes }
      }
      case 'hint': {
        const part = this.#of(expression.part, expression.type)
        if (!isAssignable(part.type, expression.type)) {
          throw invalid(`Cannot assign a value of type ${part.type.kind} to one of type ${expression.type.kind}`)
        }
        return {
          ...part,
          type: expression.type,
          name: part.name === undefined ? undefined : `(${expression.words})${part.name}`,
        }
      }
      case 'group': {
        const part = this.#of(expression.part, wanted)
        return { ...part, name: part.name === undefined ? undefined : `(${part.name})` }
      }
      case 'cast': {
        if (isUntyped(expression.part))
          throw invalid('Cannot infer type of what is cast: put a type in front, as in (int) …')
        const part = this.alone(expression.part)
        const cast = castOf(part.type, expression.type)
        return {
          type: expression.type,
          name: part.name === undefined ? undefined : `cast(${part.name} as ${expression.type.kind})`,
          evaluate: (frame) => {
            const value = part.evaluate(frame)
            return value === null ? null : cast(value)
          },
        }
      }
      case 'countRows':
        return this.#aggregate('count', native('bigint'), 'count', () => one)
      case 'call':
        return this.#call(expression.name, expression.parts)
      case 'operation':
        return this.#operation(expression)
      case 'negation':
        return this.#negation(expression.part, wanted)
      case 'element':
        return elementOf(expression, this)
      case 'slice':
        return sliceOf(expression, this)
      case 'tuple':
      case 'list':
      case 'set':
      case 'map':
        return this.#literal(expression, wanted, (part, type) => this.#of(part, type))
    }
  }

  /** A part, for the type of its place where it has none of its own. A literal takes it in any case: it says what its own parts are. */
  #of(part: Expression, wanted: CqlType | undefined): Compiled {
    return this.compile(part, isUntyped(part) || isLiteral(part) || part.kind === 'group' ? wanted : undefined)
  }

  /** A part whose place says nothing of its type: in parentheses it would have none (`BetweenParenthesesOrWithTuple`). */
  alone(part: Expression): Compiled {
    if (part.kind === 'group') throw invalid(inParentheses)
    return this.compile(part)
  }

  #literal(
    literal: Literal,
    wanted: CqlType | undefined,
    compile: (part: Expression, type: CqlType) => Compiled,
  ): Compiled {
    const known = new Map<Expression, Compiled>()
    const typeOf = (part: Expression): CqlType => {
      const compiled = this.compile(part)
      known.set(part, compiled)
      return compiled.type
    }
    const checked = (part: Expression, type: CqlType): Compiled => {
      const compiled = known.get(part) ?? compile(part, type)
      if (isAssignable(compiled.type, type)) return compiled
      throw invalid(`a value of type ${compiled.type.kind} stands in a ${literal.kind} of ${type.kind}`)
    }
    return literalOf(literal, wanted, checked, typeOf)
  }

  #aggregate(name: string, type: CqlType, column: string | undefined, value: AggregateSlot['value']): Compiled {
    const slot = this.aggregates.length
    this.aggregates.push({ name, type, value })
    return {
      type: aggregateType(name, type),
      name: column,
      evaluate: ({ aggregates }) => aggregates[slot]?.result() ?? null,
    }
  }

  #call(name: string, parts: readonly Expression[]): Compiled {
    const [first] = parts
    if (aggregateNames.has(name)) {
      if (first === undefined || parts.length !== 1) throw wrongCount(name)
      // COUNT of a constant counts rows.
      if (name === 'count' && first.kind === 'constant') return this.compile({ kind: 'countRows' })
      const before = this.aggregates.length
      const part = this.alone(first)
      if (this.aggregates.length > before) throw invalid('aggregates of aggregates are not supported')
      return this.#aggregate(name, part.type, named(name, [part]), part.evaluate)
    }
    if (name === 'count_rows' || name === 'countRows') return this.compile({ kind: 'countRows' })
    if (name === 'token') return this.#token(parts)
    const compiled: (Compiled | undefined)[] = parts.map(() => undefined)
    const lazily = parts.map(
      (part, i): Part => ({
        isText: part.kind === 'constant' && part.token === T.STRING,
        typed: (wanted) => {
          const known = wanted === undefined ? this.alone(part) : this.#of(part, wanted)
          if (wanted !== undefined && !isAssignable(known.type, wanted)) {
            throw invalid(
              `type error: an argument of function ${name} is of type ${known.type.kind}, not ${wanted.kind}`,
            )
          }
          compiled[i] = known
          return known.type
        },
      }),
    )
    const { type, call } = resolveCall(name, lazily, this.#clock)
    const done = compiled.map((part, i) => part ?? this.compile(parts[i]!))
    return {
      type,
      name: named(name, done),
      evaluate: (frame) => call(done.map((part) => part.evaluate(frame))),
    }
  }

  #token(parts: readonly Expression[]): Compiled {
    const { partitionKey, columns, order } = this.#shape
    if (parts.length !== partitionKey.length) throw wrongCount('token')
    const compiled = parts.map((part, i) =>
      this.compile(part, isUntyped(part) ? columns[partitionKey[i]!]!.type : undefined),
    )
    if (order === 'bytes' && compiled.length > 1) throw unsupported('the token of several columns of a virtual table')
    return {
      type: order === 'bytes' ? compiled[0]!.type : native('bigint'),
      name: named('token', compiled),
      evaluate: (frame) => {
        const key: Buffer[] = []
        for (const part of compiled) {
          const value = part.evaluate(frame)
          if (value === null) return null
          key.push(value)
        }
        return order === 'bytes' ? compositeKey(key) : integral('bigint', tokenOf(order, key))
      },
    }
  }

  #operation({ operator, left, right }: Extract<Expression, { kind: 'operation' }>): Compiled {
    const isOpen = (part: Expression): boolean => part.kind === 'marker' || part.kind === 'null'
    if (isOpen(left) && isOpen(right)) throw invalid(`Ambiguous '${operator}' operation: use type hint to disambiguate`)
    // A marker or null takes the type of what is beside it, where that leaves no choice.
    const typedRight = isOpen(left) ? this.compile(right) : undefined
    const a = this.compile(left, typedRight === undefined ? undefined : typeBeside(operator, typedRight.type, false))
    const b = typedRight ?? this.compile(right, isOpen(right) ? typeBeside(operator, a.type, true) : undefined)
    const { type, call } = operationOf(operator, a.type, b.type)
    return {
      type,
      name: a.name === undefined || b.name === undefined ? undefined : `${a.name} ${operator} ${b.name}`,
      evaluate: (frame) => {
        const [one, other] = [a.evaluate(frame), b.evaluate(frame)]
        return one === null || other === null ? null : call(one, other)
      },
    }
  }

  #negation(part: Expression, wanted: CqlType | undefined): Compiled {
    const compiled = this.#of(part, wanted)
    const { type, evaluate } = compiled
    if (!isNumber(type)) throw invalid(`the '-' operation is not supported on ${type.kind}`)
    const minus = constantOf(T.INTEGER, '-1', type)
    return {
      type,
      name: compiled.name === undefined ? undefined : `-${compiled.name}`,
      evaluate: (frame) => {
        const value = evaluate(frame)
        return value === null || value.length === 0 ? null : operate('*', type, minus, value, [type, type])
      },
    }
  }
}

const noRow: Frame = { row: undefined, aggregates: [] }

const inParentheses = 'Cannot infer type for term in parentheses in selection clause (try using a cast to force a type)'

const isLiteral = (part: Expression): part is Literal =>
  part.kind === 'list' || part.kind === 'set' || part.kind === 'map' || part.kind === 'tuple'

const isFromJson = (name: string): boolean => name === 'from_json' || name === 'fromjson'

function named(name: string, parts: readonly Compiled[]): string | undefined {
  const names = parts.map((part) => part.name)
  return names.includes(undefined) ? undefined : `system.${name}(${names.join(', ')})`
}
