/** How a type is written in metadata: an [option] of native_protocol_v5.spec §4.2.5.2. */
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { customType, marshalName } from './marshal.ts'
import type { BodyReader } from './reader.ts'
import { type CqlType, nativeCodes, nativeOfCode, type UdtField } from './types.ts'
import type { BodyWriter } from './writer.ts'

const TypeCode = { CUSTOM: 0, TEXT_V2: 0x0a, LIST: 0x20, MAP: 0x21, SET: 0x22, UDT: 0x30, TUPLE: 0x31 } as const

const text: CqlType = { kind: 'text' }

function nativeOf(code: number): CqlType | undefined {
  // v2 had two names for text; a node may still say the old one for a very old table.
  return code === TypeCode.TEXT_V2 ? text : nativeOfCode(code)
}

/** Reads a type [option]. PROTOCOL where it is unknown or nested deeper than `nestingDepthMax`. */
export function readType(reader: BodyReader, depth = 0): CqlType {
  if (depth > limits.nestingDepthMax) throw new RingfenceError('PROTOCOL', 'type is nested too deeply')
  const code = reader.short()
  const simple = nativeOf(code)
  if (simple !== undefined) return simple
  switch (code) {
    case TypeCode.CUSTOM:
      return customType(reader.string())
    case TypeCode.LIST:
      return { kind: 'list', element: readType(reader, depth + 1) }
    case TypeCode.SET:
      return { kind: 'set', element: readType(reader, depth + 1) }
    case TypeCode.MAP: {
      const key = readType(reader, depth + 1)
      return { kind: 'map', key, value: readType(reader, depth + 1) }
    }
    case TypeCode.UDT: {
      const keyspace = reader.string()
      const name = reader.string()
      const count = reader.short()
      const fields: UdtField[] = []
      for (let i = 0; i < count; i++) {
        const fieldName = reader.string()
        fields.push({ name: fieldName, type: readType(reader, depth + 1) })
      }
      return { kind: 'udt', keyspace, name, fields }
    }
    case TypeCode.TUPLE: {
      const count = reader.short()
      const elements: CqlType[] = []
      for (let i = 0; i < count; i++) elements.push(readType(reader, depth + 1))
      return { kind: 'tuple', elements }
    }
    default:
      throw new RingfenceError('PROTOCOL', `unknown type ${code}`)
  }
}

/** Moves over a type [option] without making anything of it. */
export function skipType(reader: BodyReader, depth = 0): void {
  if (depth > limits.nestingDepthMax) throw new RingfenceError('PROTOCOL', 'type is nested too deeply')
  const code = reader.short()
  if (nativeOf(code) !== undefined) return
  let children = 1
  switch (code) {
    case TypeCode.CUSTOM:
      reader.skipString()
      return
    case TypeCode.LIST:
    case TypeCode.SET:
      break
    case TypeCode.MAP:
      children = 2
      break
    case TypeCode.UDT:
      reader.skipString()
      reader.skipString()
      children = reader.short()
      break
    case TypeCode.TUPLE:
      children = reader.short()
      break
    default:
      throw new RingfenceError('PROTOCOL', `unknown type ${code}`)
  }
  for (let i = 0; i < children; i++) {
    if (code === TypeCode.UDT) reader.skipString()
    skipType(reader, depth + 1)
  }
}

/** Writes a type [option]. */
export function writeType(writer: BodyWriter, type: CqlType): void {
  switch (type.kind) {
    case 'custom':
      writer.short(TypeCode.CUSTOM).string(type.className)
      return
    case 'vector':
      writer.short(TypeCode.CUSTOM).string(marshalName(type))
      return
    case 'list':
    case 'set':
      writer.short(type.kind === 'list' ? TypeCode.LIST : TypeCode.SET)
      writeType(writer, type.element)
      return
    case 'map':
      writer.short(TypeCode.MAP)
      writeType(writer, type.key)
      writeType(writer, type.value)
      return
    case 'tuple':
      writer.short(TypeCode.TUPLE).short(type.elements.length)
      for (const element of type.elements) writeType(writer, element)
      return
    case 'udt':
      writer.short(TypeCode.UDT).string(type.keyspace).string(type.name).short(type.fields.length)
      for (const field of type.fields) {
        writer.string(field.name)
        writeType(writer, field.type)
      }
      return
    default:
      writer.short(nativeCodes[type.kind])
  }
}
