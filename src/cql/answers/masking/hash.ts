/** Values in whose place a hash of their type stands: text, blobs, uuids, integers. */
import type { CqlType } from '../../types.ts'
import type { Growing } from '../growing.ts'
import { type KeyedHash, sha256Bytes } from './keyed-hash.ts'
import { type LeafOf, unlessEmpty, type ValueMasker } from './value-masker.ts'

const textHashBytes = 16
const hexDigits = Buffer.from('0123456789abcdef', 'latin1')

/** Bytes of a hashed integer; a varint is as wide as a bigint. */
const integerBytes: ReadonlyMap<CqlType['kind'], number> = new Map([
  ['tinyint', 1],
  ['smallint', 2],
  ['int', 4],
  ['bigint', 8],
  ['counter', 8],
  ['varint', 8],
] as const)

export function hashOf(keyed: KeyedHash, name: Buffer): LeafOf {
  return (type) => {
    switch (type.kind) {
      case 'text':
      case 'ascii':
        return hashed(keyed, name, writeHex)
      case 'blob':
        return hashed(keyed, name, (out, hash) => out.copy(hash, 0, sha256Bytes))
      case 'uuid':
      case 'timeuuid': {
        // RFC 9562: random is version 4, time is version 1.
        const version = type.kind === 'uuid' ? 0x40 : 0x10
        return unlessEmpty(type, (out, buf, start, end) => {
          const hashed = keyed.of(name, buf, start, end)
          hashed[6] = (hashed[6]! & 0x0f) | version
          hashed[8] = (hashed[8]! & 0x3f) | 0x80
          out.copy(hashed, 0, 16)
        })
      }
      default: {
        const bytes = integerBytes.get(type.kind)
        if (bytes === undefined) return undefined
        return unlessEmpty(type, (out, buf, start, end) => {
          const hashed = keyed.of(name, buf, shortestStart(buf, start, end), end)
          hashed[0]! &= 0x7f
          // A varint must not begin with a byte that says nothing.
          if (type.kind === 'varint') hashed[0]! |= 0x40
          out.copy(hashed, 0, bytes)
        })
      }
    }
  }
}

function hashed(keyed: KeyedHash, name: Buffer, write: (out: Growing, hash: Buffer) => void): ValueMasker {
  const masker = (out: Growing, buf: Buffer, start: number, end: number): void =>
    write(out, keyed.of(name, buf, start, end))
  return Object.assign(masker, {
    *steps(out: Growing, buf: Buffer, start: number, end: number): Generator<undefined, void> {
      write(out, yield* keyed.inSteps(name, buf, start, end))
    },
  })
}

function writeHex(out: Growing, hash: Buffer): void {
  const at = out.room(textHashBytes * 2)
  for (let i = 0; i < textHashBytes; i++) {
    out.buf[at + i * 2] = hexDigits[hash[i]! >> 4]!
    out.buf[at + i * 2 + 1] = hexDigits[hash[i]! & 15]!
  }
}

/** Behind the leading bytes of an integer that say nothing, so that equal numbers are equal bytes in every width. */
function shortestStart(buf: Buffer, start: number, end: number): number {
  let at = start
  while (at < end - 1) {
    const sign = buf[at + 1]! >= 0x80 ? 0xff : 0
    if (buf[at] !== sign) break
    at++
  }
  return at
}
