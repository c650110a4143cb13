/** CQL types. How one is written in metadata: `type-options.ts`; how a value of it is written: `values.ts`. */
import { assert } from '../base/errors.ts'

/** By native_protocol_v5.spec §4.2.5.2. */
export const nativeCodes = {
  ascii: 0x01,
  bigint: 0x02,
  blob: 0x03,
  boolean: 0x04,
  counter: 0x05,
  decimal: 0x06,
  double: 0x07,
  float: 0x08,
  int: 0x09,
  timestamp: 0x0b,
  uuid: 0x0c,
  text: 0x0d,
  varint: 0x0e,
  timeuuid: 0x0f,
  inet: 0x10,
  date: 0x11,
  time: 0x12,
  smallint: 0x13,
  tinyint: 0x14,
  duration: 0x15,
} as const

export type NativeTypeName = keyof typeof nativeCodes

export type CqlType =
  | { readonly kind: NativeTypeName }
  | { readonly kind: 'custom'; readonly className: string }
  | { readonly kind: 'list' | 'set'; readonly element: CqlType }
  | { readonly kind: 'map'; readonly key: CqlType; readonly value: CqlType }
  | { readonly kind: 'tuple'; readonly elements: readonly CqlType[] }
  | { readonly kind: 'udt'; readonly keyspace: string; readonly name: string; readonly fields: readonly UdtField[] }
  | { readonly kind: 'vector'; readonly element: CqlType; readonly dimension: number }

export interface UdtField {
  readonly name: string
  readonly type: CqlType
}

const nativeTypes = new Map<number, CqlType>()
for (const [kind, code] of Object.entries(nativeCodes)) nativeTypes.set(code, { kind: kind as NativeTypeName })

/** The native type of a code; undefined where the code is of another kind of type. */
export function nativeOfCode(code: number): CqlType | undefined {
  return nativeTypes.get(code)
}

/** A native type by name; `list`, `set` and `map` beside it for what is built of others. */
export function native(kind: NativeTypeName): CqlType {
  const type = nativeTypes.get(nativeCodes[kind])
  assert(type !== undefined, 'a native type has a code')
  return type
}

export function listOf(element: CqlType): CqlType {
  return { kind: 'list', element }
}

export function setOf(element: CqlType): CqlType {
  return { kind: 'set', element }
}

export function mapOf(key: CqlType, value: CqlType): CqlType {
  return { kind: 'map', key, value }
}

/** Bytes of every value of the type, where they are always as many (`AbstractType.valueLengthIfFixed`). */
export function fixedBytes(type: CqlType): number | undefined {
  switch (type.kind) {
    case 'boolean':
      return 1
    case 'int':
    case 'float':
      return 4
    case 'bigint':
    case 'double':
    case 'timestamp':
      return 8
    case 'uuid':
    case 'timeuuid':
      return 16
    case 'vector': {
      const element = fixedBytes(type.element)
      return element === undefined ? undefined : element * type.dimension
    }
    default:
      return undefined
  }
}
