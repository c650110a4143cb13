/** Masks of values (`cql3/functions/masking/*.java`). */
import { createHash } from 'node:crypto'
import { type CqlType, native } from '../types.ts'
import { encodeValue } from '../values.ts'
import { type Called, type Part, strict, wrongCount } from './called.ts'
import { invalid, unsupported } from './unsupported.ts'

export function mask(name: string, parts: readonly Part[]): Called {
  const [first, second, third, fourth] = parts
  if (first === undefined || parts.length > 4) throw wrongCount(name)
  const type = first.typed()
  // A node says that it is of a class of its own, `LegacyTimeUUIDType`.
  if (type.kind === 'timeuuid' && name !== 'mask_hash') throw unsupported('a mask of a timeuuid')
  switch (name) {
    case 'mask_null':
      if (second !== undefined) throw wrongCount(name)
      return { type, call: () => null }
    case 'mask_default': {
      if (second !== undefined) throw wrongCount(name)
      const masked = maskedValue(type)
      // Of null, too.
      return { type, call: () => masked }
    }
    case 'mask_replace':
      if (second === undefined || third !== undefined) throw wrongCount(name)
      second.typed(type)
      return { type, call: ([, replacement = null]) => replacement }
    case 'mask_hash':
      if (third !== undefined) throw wrongCount(name)
      second?.typed(native('text'))
      return {
        type: native('blob'),
        call: ([value = null, algorithm = null]) => {
          const hash = hashOf(algorithm?.toString() ?? 'SHA-256')
          return value === null ? null : createHash(hash).update(value).digest()
        },
      }
    default: {
      if (type.kind !== 'text' && type.kind !== 'ascii') throw invalid(`function ${name} requires a text argument`)
      if (second === undefined || third === undefined) throw wrongCount(name)
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

/** Names of `MessageDigest.getInstance`, whatever their case, and what OpenSSL calls them. */
const hashes: ReadonlyMap<string, string> = new Map([
  ['MD5', 'md5'],
  ...['SHA', 'SHA1', 'SHA-1'].map((name) => [name, 'sha1'] as const),
  ...['224', '256', '384', '512', '512/224', '512/256'].map(
    (bits) => [`SHA-${bits}`, `sha${bits.replace('/', '-')}`] as const,
  ),
  ...['224', '256', '384', '512'].map((bits) => [`SHA3-${bits}`, `sha3-${bits}`] as const),
])

function hashOf(algorithm: string): string {
  const hash = hashes.get(algorithm.toUpperCase())
  if (hash === undefined) throw invalid('Hash algorithm not found')
  return hash
}

/** `AbstractType.getMaskedValue` */
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
    case 'inet':
      return Buffer.alloc(4)
    case 'boolean':
    case 'tinyint':
    case 'varint':
      return Buffer.alloc(1)
    case 'smallint':
      return Buffer.alloc(2)
    case 'bigint':
    case 'counter':
    case 'double':
    case 'time':
    case 'timestamp':
      return Buffer.alloc(8)
    case 'date':
      return encodeValue(type, 0)!
    case 'decimal':
      return encodeValue(type, { unscaled: 0n, scale: 0 })!
    case 'duration':
      return encodeValue(type, { months: 0, days: 0, nanoseconds: 0n })!
    case 'uuid':
      return Buffer.alloc(16)
    case 'tuple':
      return encodeValue(
        { kind: 'tuple', elements: type.elements.map(() => native('blob')) },
        type.elements.map(maskedValue),
      )!
    default:
      throw unsupported(`mask_default of ${type.kind}`)
  }
}
