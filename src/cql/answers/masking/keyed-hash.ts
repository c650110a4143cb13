/** A hash that only the mesh can make. */
import { createHash, hash as digest } from 'node:crypto'
import { RingfenceError } from '../../../base/errors.ts'
import { windowBytes } from './value-masker.ts'

const hashKeyBytesMin = 32
const blockBytes = 64
export const sha256Bytes = 32

/** HMAC-SHA256 (RFC 2104) of many short texts: two digests of memory that is kept, since a Hmac object for each value costs more. */
export class KeyedHash {
  #inner = Buffer.alloc(1024)
  readonly #outer = Buffer.alloc(blockBytes + sha256Bytes)

  /** UNAVAILABLE where there is no key of 32 bytes: a hash that everyone can make hides nothing. */
  constructor(key: Buffer) {
    if (key.length < hashKeyBytesMin || key.length > blockBytes) {
      throw new RingfenceError('UNAVAILABLE', 'columns are masked by hash, and the mesh has no key for it yet')
    }
    for (let i = 0; i < blockBytes; i++) {
      const byte = i < key.length ? key[i]! : 0
      this.#inner[i] = byte ^ 0x36
      this.#outer[i] = byte ^ 0x5c
    }
  }

  /** Of the length of `name` (uint16), `name` and `buf[start..end)`: 32 bytes. */
  of(name: Buffer, buf: Buffer, start: number, end: number): Buffer {
    const nameAt = blockBytes + 2
    const valueAt = nameAt + name.length
    const bytes = valueAt + end - start
    if (bytes > this.#inner.length) {
      const grown = Buffer.alloc(Math.max(bytes, this.#inner.length * 2))
      this.#inner.copy(grown, 0, 0, blockBytes)
      this.#inner = grown
    }
    this.#inner.writeUInt16BE(name.length, blockBytes)
    name.copy(this.#inner, nameAt)
    buf.copy(this.#inner, valueAt, start, end)
    return this.#outerOf(digest('sha256', this.#inner.subarray(0, bytes), 'buffer'))
  }

  /** The same in steps. */
  *inSteps(name: Buffer, buf: Buffer, start: number, end: number): Generator<undefined, Buffer> {
    const inner = createHash('sha256').update(this.#inner.subarray(0, blockBytes))
    const nameBytes = Buffer.alloc(2)
    nameBytes.writeUInt16BE(name.length)
    inner.update(nameBytes).update(name)
    for (let from = start; from < end; from += windowBytes) {
      if (from > start) yield
      inner.update(buf.subarray(from, Math.min(from + windowBytes, end)))
    }
    return this.#outerOf(inner.digest())
  }

  #outerOf(inner: Buffer): Buffer {
    inner.copy(this.#outer, blockBytes)
    return digest('sha256', this.#outer, 'buffer')
  }
}
