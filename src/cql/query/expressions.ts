/** Expressions made into functions of a row: what the select list, GROUP BY and WHERE are made of. */

import { compositeKey } from '../partition-key.ts'
import { BodyReader } from '../reader.ts'
import { T } from '../statement/tokens.ts'
import { type CqlType, native } from '../types.ts'
import { decodeValue } from '../values.ts'
import { BodyWriter } from '../writer.ts'
import { type Aggregate, aggregateNames, aggregateOf, aggregateType } from './aggregates.ts'
import { compareValues } from './compare.ts'
import { constantOf, integral, preferredType } from './constants.ts'
import { type Clock, isUntyped, type Part, resolveCall } from './functions.ts'
import { castOf, isFloating, isInteger, operate, resultType } from './numbers.ts'
import { type RowView, type TableShape, tokenOf } from './table.ts'
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

/** What an expression may look at. */
export interface Frame {
  row: RowView | undefined
  readonly aggregates: (Aggregate | undefined)[]
}

export interface Compiled {
  readonly type: CqlType
  /** Of the output column; undefined where it is not known to be Cassandra's. */
  readonly name: string | undefined
  readonly evaluate: (frame: Frame) => Buffer | null
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

export class Compiler {
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
    const { evaluate } = this.compile(expression, wanted)
    if (this.aggregates.length > before) throw invalid('aggregates are not supported in WHERE')
    return evaluate(noRow)
  }

  compile(expression: Expression, wanted?: CqlType): Compiled {
    this.expressions++
    switch (expression.kind) {
      case 'column': {
        const index = this.columnAt(expression.name)
        const { name, type } = this.#shape.columns[index]!
        return { type, name, evaluate: ({ row }) => (row === undefined ? null : row.cell(index)) }
      }
      case 'stamp': {
        this.columnAt(expression.column)
        const name = `${expression.of}(${expression.column})`
        const index = this.#columnAt.get(name)
        if (index === undefined) throw unsupported(`${expression.of} of a column of ${this.#shape.name}`)
        const { type } = this.#shape.columns[index]!
        return { type, name, evaluate: ({ row }) => (row === undefined ? null : row.cell(index)) }
      }
      case 'constant': {
        const type = wanted ?? preferredType(expression.token, expression.text)
        if (type === undefined) throw invalid('a constant needs a type here: put one in front, as in (text) …')
        const bytes = constantOf(expression.token, expression.text, type)
        return { type, name: textOf(expression), evaluate: () => bytes }
      }
      case 'null':
        return { type: wanted ?? native('text'), name: 'null', evaluate: () => null }
      case 'marker': {
        if (wanted === undefined) throw invalid('a marker needs a type here: put one in front, as in (text) ?')
        const bytes = this.bound(expression.index, wanted)
        return { type: wanted, name: '?', evaluate: () => bytes }
      }
      case 'hint': {
        const part = this.compile(expression.part, isUntyped(expression.part) ? expression.type : undefined)
        return {
          ...part,
          type: expression.type,
          name: part.name === undefined ? undefined : `(${expression.words})${part.name}`,
        }
      }
      case 'cast': {
        const part = this.compile(expression.part)
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
        return this.#element(expression.of, expression.key)
      case 'slice':
        return this.#slice(expression.of, expression.from, expression.to)
      case 'tuple':
      case 'list':
      case 'set':
      case 'map':
        return this.#literal(expression, wanted)
    }
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
      if (first === undefined || parts.length !== 1)
        throw invalid(`invalid number of arguments in call to function ${name}`)
      // COUNT of a constant counts rows.
      if (name === 'count' && first.kind === 'constant') return this.compile({ kind: 'countRows' })
      const before = this.aggregates.length
      const part = this.compile(first)
      if (this.aggregates.length > before) throw invalid('aggregates of aggregates are not supported')
      return this.#aggregate(name, part.type, named(name, [part]), part.evaluate)
    }
    if (name === 'count_rows' || name === 'countRows') return this.compile({ kind: 'countRows' })
    if (name === 'token') return this.#token(parts)
    const compiled: (Compiled | undefined)[] = parts.map(() => undefined)
    const lazily = parts.map(
      (part, i): Part => ({
        typed: (wanted) => {
          const known = this.compile(part, isUntyped(part) ? wanted : undefined)
          if (wanted !== undefined && !sameKind(known.type, wanted)) {
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
    if (parts.length !== partitionKey.length) throw invalid('invalid number of arguments in call to function token')
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
    // A constant or marker beside something typed takes the type of that, where it can.
    const typedLeft = isUntyped(left) ? undefined : this.compile(left)
    const typedRight = isUntyped(right) ? undefined : this.compile(right)
    const a = typedLeft ?? this.compile(left, left.kind === 'constant' ? undefined : typedRight?.type)
    const b = typedRight ?? this.compile(right, right.kind === 'constant' ? undefined : a.type)
    const type = resultType(a.type, b.type)
    const of = [a.type, b.type] as const
    return {
      type,
      name: a.name === undefined || b.name === undefined ? undefined : `${a.name} ${operator} ${b.name}`,
      evaluate: (frame) => {
        const [one, other] = [a.evaluate(frame), b.evaluate(frame)]
        return one === null || other === null ? null : operate(operator, type, one, other, of)
      },
    }
  }

  #negation(part: Expression, wanted: CqlType | undefined): Compiled {
    const compiled = this.compile(part, isUntyped(part) ? wanted : undefined)
    const { type, evaluate } = compiled
    if (!isInteger(type) && !isFloating(type)) throw invalid(`the '-' operation is not supported on ${type.kind}`)
    const minus = constantOf(T.INTEGER, '-1', type)
    return {
      type,
      name: compiled.name === undefined ? undefined : `-${compiled.name}`,
      evaluate: (frame) => {
        const value = evaluate(frame)
        return value === null ? null : operate('*', type, minus, value, [type, type])
      },
    }
  }

  #element(of: Expression, key: Expression): Compiled {
    const { type, name, evaluate } = this.compile(of)
    if (type.kind !== 'map' && type.kind !== 'set') throw invalid('invalid element selection: not a set or map')
    const keyType = type.kind === 'map' ? type.key : type.element
    const wanted = this.value(key, keyType)
    return {
      type: type.kind === 'map' ? type.value : keyType,
      name: subscript(name, textOf(key)),
      evaluate: (frame) => {
        const collection = evaluate(frame)
        if (collection === null || wanted === null) return null
        for (const [item, value] of entriesOf(type.kind === 'map', collection)) {
          if (compareValues(keyType, item, wanted) === 0) return value
        }
        return null
      },
    }
  }

  #slice(of: Expression, from: Expression | undefined, to: Expression | undefined): Compiled {
    const { type, name, evaluate } = this.compile(of)
    if (type.kind !== 'map' && type.kind !== 'set') throw invalid('invalid slice selection: not a set or map')
    const isMap = type.kind === 'map'
    const keyType = isMap ? type.key : type.element
    const first = from === undefined ? null : this.value(from, keyType)
    const last = to === undefined ? null : this.value(to, keyType)
    return {
      type,
      name: subscript(name, from === undefined ? '' : textOf(from), to === undefined ? '' : textOf(to)),
      evaluate: (frame) => {
        const collection = evaluate(frame)
        if (collection === null) return null
        const kept = [...entriesOf(isMap, collection)].filter(
          ([item]) =>
            (first === null || compareValues(keyType, item, first) >= 0) &&
            (last === null || compareValues(keyType, item, last) <= 0),
        )
        const body = new BodyWriter().int(kept.length)
        for (const [item, value] of kept) {
          body.bytes(item)
          if (isMap) body.bytes(value)
        }
        return body.take()
      },
    }
  }

  /** A collection of values that no row changes; sets and maps in the order of their type. */
  #literal(expression: Expression, wanted: CqlType | undefined): Compiled {
    if (expression.kind === 'tuple' && wanted?.kind === 'tuple' && expression.parts.length === wanted.elements.length) {
      const body = new BodyWriter()
      expression.parts.forEach((part, i) => {
        body.bytes(this.value(part, wanted.elements[i]!))
      })
      return constantly(wanted, body.take())
    }
    if (expression.kind === 'list' && wanted?.kind === 'list') {
      return constantly(wanted, collected(expression.parts.map((part) => [this.#item(part, wanted.element)])))
    }
    if (expression.kind === 'set' && wanted?.kind === 'set') {
      const items = expression.parts.map((part) => [this.#item(part, wanted.element)])
      return constantly(wanted, collected(ordered(wanted.element, items)))
    }
    if (
      wanted?.kind === 'map' &&
      (expression.kind === 'map' || (expression.kind === 'set' && expression.parts.length === 0))
    ) {
      const entries = expression.kind === 'map' ? expression.entries : []
      const items = entries.map(([key, value]) => [this.#item(key, wanted.key), this.#item(value, wanted.value)])
      return constantly(wanted, collected(ordered(wanted.key, items)))
    }
    throw unsupported('a tuple or collection in this place')
  }

  #item(part: Expression, type: CqlType): Buffer {
    const value = this.value(part, type)
    if (value === null) throw invalid('null is not supported inside collections')
    return value
  }
}

const noRow: Frame = { row: undefined, aggregates: [] }

function constantly(type: CqlType, bytes: Buffer): Compiled {
  return { type, name: undefined, evaluate: () => bytes }
}

function ordered(type: CqlType, items: readonly Buffer[][]): readonly Buffer[][] {
  const sorted = items.toSorted((a, b) => compareValues(type, a[0]!, b[0]!))
  // Of equal keys the last one counts.
  return sorted.filter((item, i) => i + 1 === sorted.length || compareValues(type, item[0]!, sorted[i + 1]![0]!) !== 0)
}

function collected(items: readonly (readonly Buffer[])[]): Buffer {
  const body = new BodyWriter().int(items.length)
  for (const item of items) for (const bytes of item) body.bytes(bytes)
  return body.take()
}

/** Keys with values of a map, items of a set with themselves. */
export function* entriesOf(isMap: boolean, collection: Buffer): Generator<readonly [Buffer, Buffer]> {
  const reader = new BodyReader().reset(collection, 0, collection.length)
  for (let i = reader.int(); i > 0; i--) {
    const item = reader.bytes()
    const value = isMap ? reader.bytes() : item
    if (item !== null && value !== null) yield [item, value]
  }
}

function named(name: string, parts: readonly Compiled[]): string | undefined {
  const names = parts.map((part) => part.name)
  return names.includes(undefined) ? undefined : `system.${name}(${names.join(', ')})`
}

/** The words of a constant or marker; undefined for what has none of its own. */
function textOf(expression: Expression): string | undefined {
  if (expression.kind === 'marker') return '?'
  if (expression.kind !== 'constant') return undefined
  return expression.token === T.STRING ? `'${expression.text}'` : expression.text
}

function subscript(of: string | undefined, ...bounds: (string | undefined)[]): string | undefined {
  return of === undefined || bounds.includes(undefined) ? undefined : `${of}[${bounds.join('..')}]`
}

/** Text and ascii go for each other; what a function wants otherwise must be what it gets. */
function sameKind(given: CqlType, wanted: CqlType): boolean {
  return given.kind === wanted.kind || (given.kind === 'ascii' && wanted.kind === 'text')
}
