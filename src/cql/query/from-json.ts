/** `from_json` of a text (`AbstractType.fromJSONObject`). */
import { T } from '../statement/tokens.ts'
import type { CqlType } from '../types.ts'
import { compareValues } from './compare.ts'
import { constantOf } from './constants.ts'
import { counted } from './literals.ts'
import { invalid, unsupported } from './unsupported.ts'

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** Null for null. @throws RingfenceError INVALID for what is no JSON, and no value of the type */
export function fromJson(text: string, type: CqlType): Buffer | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw invalid('could not decode a JSON string')
  }
  return value === null ? null : bytesOf(value, type)
}

function bytesOf(value: unknown, type: CqlType): Buffer {
  const isText = typeof value === 'string'
  switch (type.kind) {
    case 'ascii':
    case 'text':
      if (isText) return constantOf(T.STRING, value, type)
      break
    case 'tinyint':
    case 'smallint':
    case 'int':
    case 'bigint':
      if (typeof value === 'number' && Number.isSafeInteger(value)) return constantOf(T.INTEGER, String(value), type)
      if (isText && /^-?\d{1,20}$/.test(value)) return constantOf(T.INTEGER, value, type)
      break
    case 'boolean':
      if (typeof value === 'boolean') return constantOf(T.BOOLEAN, String(value), type)
      if (isText && /^(?:true|false)$/i.test(value)) return constantOf(T.BOOLEAN, value, type)
      break
    case 'uuid':
    case 'timeuuid':
      if (isText && uuid.test(value)) return constantOf(T.UUID, value, type)
      break
    case 'blob':
      if (isText && /^0x(?:[0-9a-f]{2})*$/i.test(value)) return constantOf(T.HEX, value, type)
      break
    case 'inet':
    case 'date':
    case 'time':
    case 'timestamp':
      if (isText) return constantOf(T.STRING, value, type)
      break
    case 'list':
    case 'set': {
      if (!Array.isArray(value)) break
      const items = value.map((item: unknown) => {
        if (item === null) throw invalid('null is not supported inside collections')
        return bytesOf(item, type.element)
      })
      return counted((type.kind === 'set' ? unique(items, type.element) : items).map((item) => [item]))
    }
    default:
      throw unsupported(`from_json to type ${type.kind}`)
  }
  throw invalid(`no value of type ${type.kind} stands in the JSON`)
}

function unique(items: readonly Buffer[], type: CqlType): Buffer[] {
  const sorted = items.toSorted((a, b) => compareValues(type, a, b))
  return sorted.filter((item, i) => i === 0 || compareValues(type, item, sorted[i - 1]!) !== 0)
}
