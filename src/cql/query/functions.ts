/**
 * Native functions of one row (`cql3/functions/*.java`): what people and tools use in questions about a schema. A name that is not here is
 * refused.
 */
import { createHash, randomBytes } from 'node:crypto'
import { BodyReader } from '../reader.ts'
import { type CqlType, listOf, type NativeTypeName, native, setOf } from '../types.ts'
import { decodeValue, encodeValue } from '../values.ts'
import { BodyWriter } from '../writer.ts'
import { aggregateOf, aggregateType } from './aggregates.ts'
import { timeOf } from './compare.ts'
import { integerValue, integral } from './constants.ts'
import { jsonOf } from './json.ts'
import { isFloating, isInteger, numberValue, truncated } from './numbers.ts'
import type { Expression } from './tree.ts'
import { invalid, unsupported } from './unsupported.ts'

/** A part of a call: typed when it is asked for, since a constant or marker takes the type that the function wants. */
export interface Part {
  /** @param wanted of a constant or marker; of anything else it must be its type */
  typed(wanted?: CqlType): CqlType
}

export interface Called {
  readonly type: CqlType
  readonly call: (values: readonly (Buffer | null)[]) => Buffer | null
}

/** The clock in milliseconds since 1970. */
export type Clock = () => number

const nativeByName: ReadonlyMap<string, NativeTypeName> = new Map(
  (
    'ascii bigint blob boolean counter date decimal double duration float inet int smallint text time timestamp timeuuid tinyint uuid varint'.split(
      ' ',
    ) as NativeTypeName[]
  ).flatMap((name) => [[name, name] as const]),
)

/** Of null, null. */
const strict =
  (call: (value: Buffer, others: readonly (Buffer | null)[]) => Buffer | null) =>
  ([value = null, ...others]: readonly (Buffer | null)[]): Buffer | null =>
    value === null ? null : call(value, others)

/** @throws RingfenceError INVALID for a function that is not done here */
export function resolveCall(name: string, parts: readonly Part[], clock: Clock): Called {
  const blob = blobFunction(name, parts)
  if (blob !== undefined) return blob
  switch (name) {
    case 'to_json':
    case 'tojson': {
      const type = only(name, parts).typed()
      return {
        type: native('text'),
        call: ([value = null]) => Buffer.from(value === null ? 'null' : jsonOf(type, value)),
      }
    }
    case 'uuid':
      none(name, parts)
      return { type: native('uuid'), call: () => randomUuid() }
    case 'now':
    case 'current_timeuuid':
    case 'currenttimeuuid':
      none(name, parts)
      return { type: native('timeuuid'), call: () => timeUuid(clock()) }
    case 'current_timestamp':
    case 'currenttimestamp':
      none(name, parts)
      return { type: native('timestamp'), call: () => integral('bigint', BigInt(clock())) }
    case 'current_date':
    case 'currentdate':
      none(name, parts)
      return { type: native('date'), call: () => dateOf(BigInt(clock())) }
    case 'current_time':
    case 'currenttime':
      none(name, parts)
      return { type: native('time'), call: () => integral('bigint', BigInt(clock() % 86_400_000) * 1_000_000n) }
    case 'to_timestamp':
    case 'totimestamp':
    case 'to_date':
    case 'todate':
    case 'to_unix_timestamp':
    case 'tounixtimestamp':
      return moment(name, only(name, parts))
    case 'abs':
    case 'exp':
    case 'log':
    case 'log10':
    case 'round':
      return mathematics(name, only(name, parts))
    case 'map_keys':
    case 'map_values':
      return ofMap(name, only(name, parts))
    case 'collection_count':
    case 'collection_min':
    case 'collection_max':
    case 'collection_sum':
    case 'collection_avg':
      return ofCollection(name, only(name, parts))
    case 'mask_null':
    case 'mask_default':
    case 'mask_replace':
    case 'mask_hash':
    case 'mask_inner':
    case 'mask_outer':
      return mask(name, parts)
    default:
      throw unsupported(`the function ${name.slice(0, 64)}`)
  }
}

/** Whether the part is a constant of an expression that has no type of its own. */
export function isUntyped(expression: Expression): boolean {
  return expression.kind === 'constant' || expression.kind === 'marker' || expression.kind === 'null'
}

function only(name: string, parts: readonly Part[]): Part {
  const [part] = parts
  if (part === undefined || parts.length !== 1) throw invalid(`invalid number of arguments in call to function ${name}`)
  return part
}

function none(name: string, parts: readonly Part[]): void {
  if (parts.length > 0) throw invalid(`invalid number of arguments in call to function ${name}`)
}

function blobFunction(name: string, parts: readonly Part[]): Called | undefined {
  const [, to] = /^([a-z]+?)_?as_?blob$/.exec(name) ?? []
  const toType = to === 'varchar' ? 'text' : nativeByName.get(to ?? '')
  if (toType !== undefined) {
    only(name, parts).typed(native(toType))
    return { type: native('blob'), call: strict((value) => value) }
  }
  const [, from] = /^blob_?as_?([a-z]+)$/.exec(name) ?? []
  const fromType = from === 'varchar' ? 'text' : nativeByName.get(from ?? '')
  if (fromType === undefined) return undefined
  only(name, parts).typed(native('blob'))
  const type = native(fromType)
  const call = strict((value) => {
    try {
      decodeValue(type, value)
    } catch {
      throw invalid(`in call to function system.${name}, the blob is not a valid value of type ${fromType}`)
    }
    return value
  })
  return { type, call }
}

// --- times and UUIDs

/** 100 ns between 1582-10-15 and 1970-01-01. */
const gregorianTicks = 122_192_928_000_000_000n
let lastTicks = 0n

function timeUuid(nowMs: number): Buffer {
  const ticks = BigInt(nowMs) * 10_000n + gregorianTicks
  lastTicks = ticks > lastTicks ? ticks : lastTicks + 1n
  const uuid = randomBytes(16)
  uuid.writeUInt32BE(Number(lastTicks & 0xffff_ffffn), 0)
  uuid.writeUInt16BE(Number((lastTicks >> 32n) & 0xffffn), 4)
  uuid.writeUInt16BE(Number((lastTicks >> 48n) & 0x0fffn) | 0x1000, 6)
  uuid[8] = (uuid[8]! & 0x3f) | 0x80
  return uuid
}

function randomUuid(): Buffer {
  const uuid = randomBytes(16)
  uuid[6] = (uuid[6]! & 0x0f) | 0x40
  uuid[8] = (uuid[8]! & 0x3f) | 0x80
  return uuid
}

const dayMs = 86_400_000n

function dateOf(milliseconds: bigint): Buffer {
  const days = milliseconds >= 0n ? milliseconds / dayMs : (milliseconds - dayMs + 1n) / dayMs
  return encodeValue(native('date'), Number(days))!
}

function moment(name: string, part: Part): Called {
  const from = part.typed()
  const millisecondsOf = (value: Buffer): bigint => {
    if (from.kind === 'timeuuid') return (timeOf(value) - gregorianTicks) / 10_000n
    if (from.kind === 'timestamp') return value.readBigInt64BE(0)
    if (from.kind === 'date') return BigInt(decodeValue(from, value) as number) * dayMs
    throw unsupported(`${name} of ${from.kind}`)
  }
  if (!['timeuuid', 'timestamp', 'date'].includes(from.kind)) throw unsupported(`${name} of ${from.kind}`)
  if (name.endsWith('date')) return { type: native('date'), call: strict((value) => dateOf(millisecondsOf(value))) }
  const type = native(name.includes('unix') ? 'bigint' : 'timestamp')
  return { type, call: strict((value) => integral('bigint', millisecondsOf(value))) }
}

// --- numbers

function mathematics(name: string, part: Part): Called {
  const type = part.typed()
  if (isInteger(type)) {
    const { kind } = type
    return {
      type,
      call: strict((value) => {
        const number = integerValue(value)
        if (number === undefined) return null
        if (name === 'abs') return integral(kind, number < 0n ? -number : number)
        if (name === 'round') return value
        return integral(kind, truncated(applied(name, Number(number)), kind))
      }),
    }
  }
  if (!isFloating(type)) throw unsupported(`${name} of ${type.kind}`)
  return { type, call: strict((value) => encodeValue(type, applied(name, numberValue(type, value)))) }
}

function applied(name: string, value: number): number {
  switch (name) {
    case 'abs':
      return Math.abs(value)
    case 'exp':
      return Math.exp(value)
    case 'log':
      return Math.log(value)
    case 'log10':
      return Math.log10(value)
    default:
      return Math.round(value)
  }
}

// --- collections

function ofMap(name: string, part: Part): Called {
  const type = part.typed()
  if (type.kind !== 'map') throw invalid(`function ${name} requires a map argument`)
  const keys = name === 'map_keys'
  return {
    type: keys ? setOf(type.key) : listOf(type.value),
    call: strict((value) => {
      const reader = new BodyReader().reset(value, 0, value.length)
      const count = reader.int()
      const body = new BodyWriter().int(count)
      for (let i = 0; i < count; i++) {
        const [key, mapped] = [reader.bytes(), reader.bytes()]
        body.bytes(keys ? key : mapped)
      }
      return body.take()
    }),
  }
}

function ofCollection(name: string, part: Part): Called {
  const type = part.typed()
  if (type.kind !== 'list' && type.kind !== 'set' && (type.kind !== 'map' || name !== 'collection_count')) {
    throw invalid(`function ${name} requires a collection argument`)
  }
  if (name === 'collection_count') {
    return { type: native('int'), call: strict((value) => integral('int', BigInt(value.readInt32BE(0)))) }
  }
  if (type.kind === 'map') throw invalid(`function ${name} requires a list or set argument`)
  const { element } = type
  const aggregate = name.slice('collection_'.length)
  return {
    type: aggregateType(aggregate, element),
    call: strict((value) => {
      const state = aggregateOf(aggregate, element)
      const reader = new BodyReader().reset(value, 0, value.length)
      for (let i = reader.int(); i > 0; i--) state.add(reader.bytes())
      return state.result()
    }),
  }
}

// --- masks (`cql3/functions/masking/*.java`)

function mask(name: string, parts: readonly Part[]): Called {
  const [first, second, third, fourth] = parts
  if (first === undefined || parts.length > 4) throw invalid(`invalid number of arguments in call to function ${name}`)
  const type = first.typed()
  switch (name) {
    case 'mask_null':
      only(name, parts)
      return { type, call: () => null }
    case 'mask_default': {
      only(name, parts)
      const masked = maskedValue(type)
      return { type, call: strict(() => masked) }
    }
    case 'mask_replace':
      if (second === undefined || third !== undefined)
        throw invalid(`invalid number of arguments in call to function ${name}`)
      second.typed(type)
      return { type, call: ([, replacement = null]) => replacement }
    case 'mask_hash':
      if (second !== undefined) throw unsupported('mask_hash with an algorithm')
      return { type: native('blob'), call: strict((value) => createHash('sha256').update(value).digest()) }
    default: {
      if (type.kind !== 'text' && type.kind !== 'ascii') throw invalid(`function ${name} requires a text argument`)
      if (second === undefined || third === undefined)
        throw invalid(`invalid number of arguments in call to function ${name}`)
      second.typed(native('int'))
      third.typed(native('int'))
      fourth?.typed(native('text'))
      const inner = name === 'mask_inner'
      return {
        type,
        call: strict((value, [begin = null, end = null, padding = null]) => {
          const text = value.toString()
          const pad = padding?.toString() ?? '*'
          if (pad.length !== 1) throw invalid(`the padding argument for function ${name} should be single-character`)
          const [from, back] = [begin, end].map((bytes) => (bytes === null ? 0 : bytes.readInt32BE(0)))
          return Buffer.from(
            Array.from({ length: text.length }, (_, i) => {
              const inside = i >= from! && i < text.length - back!
              return inside === inner ? pad : text[i]
            }).join(''),
          )
        }),
      }
    }
  }
}

function maskedValue(type: CqlType): Buffer {
  switch (type.kind) {
    case 'ascii':
    case 'text':
      return Buffer.from('****')
    case 'blob':
      return Buffer.alloc(0)
    case 'list':
    case 'set':
    case 'map':
    case 'int':
    case 'float':
      return Buffer.alloc(4)
    case 'boolean':
    case 'tinyint':
      return Buffer.alloc(1)
    case 'smallint':
      return Buffer.alloc(2)
    case 'bigint':
    case 'counter':
    case 'double':
    case 'timestamp':
      return Buffer.alloc(8)
    case 'uuid':
      return Buffer.alloc(16)
    default:
      throw unsupported(`mask_default of ${type.kind}`)
  }
}
