/**
 * Native functions of one row (`cql3/functions/*.java`): what people and tools use in questions about a schema. A name that is not here is
 * refused.
 */
import { randomBytes } from 'node:crypto'
import { BodyReader } from '../reader.ts'
import { listOf, type NativeTypeName, native, setOf } from '../types.ts'
import { decodeValue, encodeValue } from '../values.ts'
import { BodyWriter } from '../writer.ts'
import { aggregateOf, aggregateType } from './aggregates.ts'
import { type Called, type Part, strict, wrongCount } from './called.ts'
import { integerValue, integral } from './integers.ts'
import { jsonOf } from './json.ts'
import { mask } from './masks.ts'
import { isFloating, isInteger, numberValue, truncated } from './numbers.ts'
import { boundUuid, dateBytes, floorOfDay, floorTime, gregorianTicks, millisecondsOf, timestampBytes } from './times.ts'
import { invalid, unsupported } from './unsupported.ts'

/** The clock in milliseconds since 1970. */
export type Clock = () => number

const nativeByName: ReadonlyMap<string, NativeTypeName> = new Map(
  (
    'ascii bigint blob boolean counter date decimal double duration float inet int smallint text time timestamp timeuuid tinyint uuid varint'.split(
      ' ',
    ) as NativeTypeName[]
  ).flatMap((name) => [[name, name] as const]),
)

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
      return { type: native('date'), call: () => dateBytes(BigInt(clock())) }
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
    case 'min_timeuuid':
    case 'mintimeuuid':
    case 'max_timeuuid':
    case 'maxtimeuuid':
      return bound(name, only(name, parts))
    case 'floor':
      return floor(name, parts)
    case 'from_json':
    case 'fromjson':
      throw invalid(`${name}() cannot be used in the selection clause of a SELECT statement`)
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

function only(name: string, parts: readonly Part[]): Part {
  const [part] = parts
  if (part === undefined || parts.length !== 1) throw wrongCount(name)
  return part
}

function none(name: string, parts: readonly Part[]): void {
  if (parts.length > 0) throw wrongCount(name)
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

/** Of a timeuuid, timestamp or date; of a constant in quotes, what alone it may be there. */
function moment(name: string, part: Part): Called {
  const toDate = name.endsWith('date')
  const isUnix = name.includes('unix')
  const from = part.isText && !isUnix ? part.typed(native(toDate ? 'timestamp' : 'date')) : part.typed()
  const known = isUnix ? ['timeuuid', 'timestamp', 'date'] : ['timeuuid', toDate ? 'timestamp' : 'date']
  if (!known.includes(from.kind)) throw invalid(`invalid call to function ${name}: a value of type ${from.kind}`)
  const made = toDate ? dateBytes : timestampBytes
  const call = ofTime((value) => made(millisecondsOf(from.kind, value)))
  return { type: native(toDate ? 'date' : isUnix ? 'bigint' : 'timestamp'), call }
}

/** Of null and of an empty value, null. */
const ofTime = (call: (value: Buffer) => Buffer) => strict((value) => (value.length === 0 ? null : call(value)))

function bound(name: string, part: Part): Called {
  part.typed(native('timestamp'))
  const first = name.startsWith('min')
  return { type: native('timeuuid'), call: ofTime((value) => boundUuid(value.readBigInt64BE(0), first)) }
}

function floor(name: string, parts: readonly Part[]): Called {
  const [time, duration, start] = parts
  if (time === undefined || duration === undefined || parts.length > 3) throw wrongCount(name)
  const { kind } = time.isText ? { kind: 'text' } : time.typed()
  if (kind !== 'timestamp' && kind !== 'timeuuid' && kind !== 'date' && (kind !== 'time' || start !== undefined)) {
    throw invalid(`invalid call to function ${name}: a value of type ${kind}`)
  }
  duration.typed(native('duration'))
  const startKind = kind === 'date' ? 'date' : 'timestamp'
  start?.typed(native(startKind))
  return {
    type: native(kind === 'timeuuid' ? 'timestamp' : kind),
    call: ([at = null, by = null, from = null]) => {
      if (at === null || by === null || (start !== undefined && from === null)) return null
      if (at.length === 0 || by.length === 0 || from?.length === 0) return null
      if (kind === 'time') return floorOfDay(at, by)
      return floorTime(kind, at, by, from === null ? 0n : millisecondsOf(startKind, from))
    },
  }
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
