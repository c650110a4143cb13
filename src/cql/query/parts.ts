/** Parts of collections: `c[k]`, `c[k..l]`, and when they were written (`selection/ElementsSelector.java`, `WritetimeOrTTLSelector.java`). */
import { T } from '../statement/tokens.ts'
import type { CqlType } from '../types.ts'
import { compareValues } from './compare.ts'
import type { Compiled, Compiling } from './compiled.ts'
import { counted, entriesOf } from './literals.ts'
import type { Expression } from './tree.ts'
import { invalid, unsupported } from './unsupported.ts'

type Element = Extract<Expression, { kind: 'element' }>
type Slice = Extract<Expression, { kind: 'slice' }>
type Stamp = Extract<Expression, { kind: 'stamp' }>

export function elementOf({ of, key }: Element, compiler: Compiling): Compiled {
  const { type, name, evaluate } = compiler.alone(of)
  if (type.kind !== 'map' && type.kind !== 'set') throw invalid('invalid element selection: not a set or map')
  const keyType = type.kind === 'map' ? type.key : type.element
  const isKey = isKeyOf(key, keyType, compiler)
  return {
    type: type.kind === 'map' ? type.value : keyType,
    name: subscript(name, textOf(key)),
    evaluate: (frame) => {
      const collection = evaluate(frame)
      if (collection === null) return null
      for (const [item, value] of entriesOf(type.kind === 'map', collection)) if (isKey(item)) return value
      return null
    },
  }
}

export function sliceOf(slice: Slice, compiler: Compiling): Compiled {
  const { from, to } = slice
  const { type, name, evaluate } = compiler.alone(slice.of)
  if (type.kind !== 'map' && type.kind !== 'set') throw invalid('invalid slice selection: not a set or map')
  const isMap = type.kind === 'map'
  const isWithin = isWithinOf(slice, isMap ? type.key : type.element, compiler)
  return {
    type,
    name: subscript(name, from === undefined ? '' : textOf(from), to === undefined ? '' : textOf(to)),
    evaluate: (frame) => {
      const collection = evaluate(frame)
      if (collection === null) return null
      const kept = [...entriesOf(isMap, collection)].filter(([item]) => isWithin(item))
      return counted(isMap ? kept : kept.map(([item]) => [item]))
    },
  }
}

export function stampOf({ of, column, part }: Stamp, compiler: Compiling): Compiled {
  const { columns, name: table } = compiler.shape
  const columnIndex = compiler.columnAt(column)
  const name = `${of}(${column})`
  const index = columns.findIndex((one) => one.name === name)
  const type = columns[index]?.type
  if (type === undefined) throw unsupported(`${of} of a column of ${table}`)
  if (part === undefined) return { type, name, evaluate: ({ row }) => (row === undefined ? null : row.cell(index)) }
  const words = compiler.compile(part).name
  const isSlice = part.kind === 'slice'
  const places = placesOf(part, columns[columnIndex]!.type, compiler)
  return {
    type: isSlice || type.kind !== 'list' ? type : type.element,
    name: words === undefined ? undefined : `${of}(${words})`,
    evaluate: ({ row }) => {
      const [stamps, value] = [row?.cell(index) ?? null, row?.cell(columnIndex) ?? null]
      if (stamps === null || value === null) return null
      const found = places(value)
      if (found.length === 0) return null
      // Of a collection that is one cell, or of which the latest is wanted: all were written at once.
      if (type.kind !== 'list') return stamps
      const all = [...entriesOf(false, stamps)].map(([stamp]) => stamp)
      const ofPart = found.map((place) => all[place] ?? null)
      return isSlice ? counted(ofPart.map((stamp) => [stamp])) : ofPart[0]!
    },
  }
}

/** Which items of a column the part takes. */
function placesOf(part: Expression, type: CqlType, compiler: Compiling): (collection: Buffer) => number[] {
  const isPart = part.kind === 'element' || part.kind === 'slice'
  if (!isPart || part.of.kind !== 'column' || (type.kind !== 'map' && type.kind !== 'set')) {
    throw unsupported('a part of a part of a column')
  }
  const isMap = type.kind === 'map'
  const keyType = isMap ? type.key : type.element
  const isTaken = part.kind === 'element' ? isKeyOf(part.key, keyType, compiler) : isWithinOf(part, keyType, compiler)
  return (collection) => [...entriesOf(isMap, collection)].flatMap(([item], place) => (isTaken(item) ? [place] : []))
}

function isKeyOf(key: Expression, type: CqlType, compiler: Compiling): (item: Buffer) => boolean {
  const wanted = compiler.value(key, type)
  if (wanted === null && !compiler.formOnly) throw invalid('Invalid null value for element selection')
  return (item) => wanted !== null && compareValues(type, item, wanted) === 0
}

function isWithinOf({ from, to }: Slice, type: CqlType, compiler: Compiling): (item: Buffer) => boolean {
  const first = from === undefined ? undefined : compiler.value(from, type)
  const last = to === undefined ? undefined : compiler.value(to, type)
  if ((first === null || last === null) && !compiler.formOnly) throw invalid('Invalid null value for slice selection')
  return (item) =>
    (first == null || compareValues(type, item, first) >= 0) && (last == null || compareValues(type, item, last) <= 0)
}

/** The words of a constant or marker; undefined for what has none of its own. */
export function textOf(expression: Expression): string | undefined {
  if (expression.kind === 'marker') return '?'
  if (expression.kind === 'null') return 'NULL'
  if (expression.kind !== 'constant') return undefined
  return expression.token === T.STRING ? `'${expression.text}'` : expression.text
}

function subscript(of: string | undefined, ...bounds: (string | undefined)[]): string | undefined {
  return of === undefined || bounds.includes(undefined) ? undefined : `${of}[${bounds.join('..')}]`
}
