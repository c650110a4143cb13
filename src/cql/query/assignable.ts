/** Which types a value may stand for (`AbstractType.testAssignment`), and which expressions have a type of their own (`getExactTypeIfKnown`). */
import type { CqlType } from '../types.ts'
import type { Expression } from './tree.ts'

function sameType(a: CqlType, b: CqlType): boolean {
  switch (a.kind) {
    case 'list':
    case 'set':
      return a.kind === b.kind && sameType(a.element, b.element)
    case 'map':
      return b.kind === 'map' && sameType(a.key, b.key) && sameType(a.value, b.value)
    case 'tuple':
      return (
        b.kind === 'tuple' &&
        a.elements.length === b.elements.length &&
        a.elements.every((element, i) => sameType(element, b.elements[i]!))
      )
    case 'vector':
      return b.kind === 'vector' && a.dimension === b.dimension && sameType(a.element, b.element)
    case 'udt':
      return b.kind === 'udt' && a.keyspace === b.keyspace && a.name === b.name
    case 'custom':
      return b.kind === 'custom' && a.className === b.className
    default:
      return a.kind === b.kind
  }
}

/** Whose values are values of the type, too, byte by byte. */
const readable: Readonly<Record<string, readonly string[]>> = {
  text: ['ascii'],
  bigint: ['timestamp'],
  timestamp: ['bigint'],
  date: ['int'],
  time: ['bigint'],
  uuid: ['timeuuid'],
  varint: ['int', 'bigint', 'timestamp'],
}

export function isAssignable(given: CqlType, wanted: CqlType): boolean {
  if (sameType(given, wanted) || wanted.kind === 'blob') return true
  switch (wanted.kind) {
    case 'list':
    case 'set':
      return given.kind === wanted.kind && isAssignable(given.element, wanted.element)
    case 'map':
      return given.kind === 'map' && isAssignable(given.key, wanted.key) && isAssignable(given.value, wanted.value)
    case 'tuple':
      return (
        given.kind === 'tuple' &&
        given.elements.length <= wanted.elements.length &&
        given.elements.every((element, i) => isAssignable(element, wanted.elements[i]!))
      )
    default:
      return readable[wanted.kind]?.includes(given.kind) === true
  }
}

/** Whether the expression takes the type of its place: a constant, a marker, null, and what is made of nothing else. */
export function isUntyped(expression: Expression): boolean {
  switch (expression.kind) {
    case 'constant':
    case 'marker':
    case 'null':
    case 'map':
      return true
    case 'group':
      return isUntyped(expression.part)
    case 'list':
    case 'set':
      return expression.parts.every(isUntyped)
    case 'tuple':
      return expression.parts.some(isUntyped)
    default:
      return false
  }
}
