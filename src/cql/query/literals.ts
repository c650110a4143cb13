/** Lists, sets, maps and tuples that a statement writes (`selection/ListSelector.java` and its like, `Lists.java` … in WHERE). */
import { BodyReader } from '../reader.ts'
import type { CqlType } from '../types.ts'
import { BodyWriter } from '../writer.ts'
import { isUntyped } from './assignable.ts'
import { compareValues } from './compare.ts'
import type { Compiled, Frame } from './compiled.ts'
import type { Expression } from './tree.ts'
import { invalid } from './unsupported.ts'

type Compile = (expression: Expression, wanted: CqlType) => Compiled
type TypeOf = (expression: Expression) => CqlType
export type Literal = Extract<Expression, { kind: 'tuple' | 'list' | 'set' | 'map' }>

/**
 * @param wanted the type of its place; undefined where it has to have one of its own
 * @param compile a part, for the type of its place
 * @param typeOf a part that has a type of its own
 */
export function literalOf(literal: Literal, wanted: CqlType | undefined, compile: Compile, typeOf: TypeOf): Compiled {
  const type = wanted ?? ownType(literal, typeOf)
  if (literal.kind === 'tuple' && type.kind === 'tuple' && literal.parts.length === type.elements.length) {
    const parts = literal.parts.map((part, i) => compile(part, type.elements[i]!))
    return made(type, nameOf(parts, '(', ')'), (frame) => joined(parts.map(({ evaluate }) => evaluate(frame))))
  }
  if (literal.kind === 'list' && type.kind === 'list') {
    const parts = literal.parts.map((part) => compile(part, type.element))
    const call = (frame: Frame): Buffer => counted(parts.map(({ evaluate }) => [evaluate(frame)]))
    return made(type, nameOf(parts, '[', ']'), call)
  }
  if (literal.kind === 'set' && type.kind === 'set') {
    if (type.element.kind === 'duration') throw invalid('Durations are not allowed inside sets')
    const parts = literal.parts.map((part) => compile(part, type.element))
    const call = (frame: Frame): Buffer => {
      const items = parts.map(({ evaluate }) => [present(evaluate(frame))])
      return counted(ordered(type.element, items))
    }
    return made(type, nameOf(parts, '{', '}'), call)
  }
  if (type.kind === 'map' && (literal.kind === 'map' || (literal.kind === 'set' && literal.parts.length === 0))) {
    return mapOf(literal, type, compile)
  }
  throw invalid(`a ${literal.kind} is no value of type ${type.kind}`)
}

function mapOf(literal: Literal, type: Extract<CqlType, { kind: 'map' }>, compile: Compile): Compiled {
  if (type.key.kind === 'duration') throw invalid('Durations are not allowed as map keys')
  const entries = literal.kind === 'map' ? literal.entries : []
  const parts = entries.map(([key, value]) => [compile(key, type.key), compile(value, type.value)] as const)
  const names = parts.map(([key, value]) =>
    key.name === undefined || value.name === undefined ? undefined : `${key.name}: ${value.name}`,
  )
  const name = names.includes(undefined) ? undefined : `{${names.join(', ')}}`
  return made(type, name, (frame) => {
    const items = parts.map(([key, value]) => [present(key.evaluate(frame)), present(value.evaluate(frame))])
    return counted(ordered(type.key, items))
  })
}

function made(type: CqlType, name: string | undefined, evaluate: (frame: Frame) => Buffer): Compiled {
  return { type, name, evaluate }
}

/** Of its first part that has one; a tuple's, where all have. */
function ownType(literal: Literal, typeOf: TypeOf): CqlType {
  const unknown = (): Error =>
    invalid(`Cannot infer type for term of a ${literal.kind} in selection clause (try using a cast to force a type)`)
  if (literal.kind === 'map') throw unknown()
  const { parts } = literal
  const typed = (part: Expression): boolean => part.kind !== 'group' && !isUntyped(part)
  if (literal.kind === 'tuple') {
    if (!parts.every(typed)) throw unknown()
    return { kind: 'tuple', elements: parts.map(typeOf) }
  }
  const first = parts.find(typed)
  if (first === undefined) throw unknown()
  return { kind: literal.kind, element: typeOf(first) }
}

function nameOf(parts: readonly Compiled[], open: string, close: string): string | undefined {
  const names = parts.map(({ name }) => name)
  return names.includes(undefined) ? undefined : `${open}${names.join(', ')}${close}`
}

function present(value: Buffer | null): Buffer {
  if (value === null) throw invalid('null is not supported inside collections')
  return value
}

function ordered(type: CqlType, items: readonly Buffer[][]): readonly Buffer[][] {
  const sorted = items.toSorted((a, b) => compareValues(type, a[0]!, b[0]!))
  // Of equal keys the last one counts.
  return sorted.filter((item, i) => i + 1 === sorted.length || compareValues(type, item[0]!, sorted[i + 1]![0]!) !== 0)
}

export function counted(items: readonly (readonly (Buffer | null)[])[]): Buffer {
  const body = new BodyWriter().int(items.length)
  for (const item of items) for (const bytes of item) body.bytes(bytes)
  return body.take()
}

function joined(items: readonly (Buffer | null)[]): Buffer {
  const body = new BodyWriter()
  for (const bytes of items) body.bytes(bytes)
  return body.take()
}

/** Keys with values of a map, items of a set or list with themselves. */
export function* entriesOf(isMap: boolean, collection: Buffer): Generator<readonly [Buffer, Buffer]> {
  const reader = new BodyReader().reset(collection, 0, collection.length)
  for (let i = reader.int(); i > 0; i--) {
    const item = reader.bytes()
    const value = isMap ? reader.bytes() : item
    if (item !== null && value !== null) yield [item, value]
  }
}
