/** Types as names of Cassandra's classes: of a custom type, and of a vector, whose class name says what it holds. */
import { limits } from '../base/limits.ts'
import { type CqlType, type NativeTypeName, native } from './types.ts'

const marshal = 'org.apache.cassandra.db.marshal.'

const marshalNames = new Map<NativeTypeName, string>([
  ['ascii', 'AsciiType'],
  ['bigint', 'LongType'],
  ['blob', 'BytesType'],
  ['boolean', 'BooleanType'],
  ['counter', 'CounterColumnType'],
  ['decimal', 'DecimalType'],
  ['double', 'DoubleType'],
  ['float', 'FloatType'],
  ['int', 'Int32Type'],
  ['timestamp', 'TimestampType'],
  ['uuid', 'UUIDType'],
  ['text', 'UTF8Type'],
  ['varint', 'IntegerType'],
  ['timeuuid', 'TimeUUIDType'],
  ['inet', 'InetAddressType'],
  ['date', 'SimpleDateType'],
  ['time', 'TimeType'],
  ['smallint', 'ShortType'],
  ['tinyint', 'ByteType'],
  ['duration', 'DurationType'],
])
const marshalTypes = new Map([...marshalNames].map(([kind, name]) => [name, native(kind)]))

export function marshalName(type: CqlType): string {
  switch (type.kind) {
    case 'custom':
      return type.className
    case 'vector':
      return `${marshal}VectorType(${marshalName(type.element)}, ${type.dimension})`
    case 'list':
      return `${marshal}ListType(${marshalName(type.element)})`
    case 'set':
      return `${marshal}SetType(${marshalName(type.element)})`
    case 'map':
      return `${marshal}MapType(${marshalName(type.key)},${marshalName(type.value)})`
    case 'tuple':
      return `${marshal}TupleType(${type.elements.map(marshalName).join(',')})`
    case 'udt':
      return `${marshal}UserType(${type.keyspace},${hex(type.name)},${type.fields
        .map((field) => `${hex(field.name)}:${marshalName(field.type)}`)
        .join(',')})`
    default:
      return marshal + marshalNames.get(type.kind)!
  }
}

function hex(name: string): string {
  return Buffer.from(name, 'utf8').toString('hex')
}

/** A vector where the class name is one whose element we know, else the custom type that it says it is. */
export function customType(className: string): CqlType {
  if (!className.startsWith(`${marshal}VectorType(`)) return { kind: 'custom', className }
  return vectorOf(className, 0) ?? { kind: 'custom', className }
}

function vectorOf(name: string, depth: number): CqlType | undefined {
  // The last comma parts element and dimension; no regular expression, since the name is as long as a node likes.
  const comma = name.lastIndexOf(',')
  const dimension = name.slice(comma + 1, -1).trim()
  if (comma < 0 || !name.endsWith(')') || !/^\d{1,5}$/.test(dimension)) return undefined
  const element = marshalType(name.slice(`${marshal}VectorType(`.length, comma).trim(), depth + 1)
  return element && { kind: 'vector', element, dimension: Number(dimension) }
}

function marshalType(name: string, depth: number): CqlType | undefined {
  if (!name.startsWith(marshal)) return undefined
  const simple = marshalTypes.get(name.slice(marshal.length))
  if (simple !== undefined) return simple
  const open = name.indexOf('(')
  if (open < 0 || !name.endsWith(')') || depth > limits.nestingDepthMax) return undefined
  const inner = name.slice(open + 1, -1)
  switch (name.slice(marshal.length, open)) {
    case 'VectorType':
      return vectorOf(name, depth)
    case 'FrozenType':
      return marshalType(inner, depth + 1)
    case 'ListType':
    case 'SetType': {
      const element = marshalType(inner, depth + 1)
      return element && { kind: name.startsWith(`${marshal}List`) ? 'list' : 'set', element }
    }
    default:
      return undefined
  }
}
