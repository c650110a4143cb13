/** Raw LZ4 blocks, as CQL carries them: the length stands elsewhere. The library's form has a 4-byte little-endian length first. */
import { compressSync, uncompressSync } from 'lz4-napi'
import { RingfenceError } from '../base/errors.ts'

const prefixBytes = 4

/** A raw block; may be longer than what went in. */
export function lz4Compress(buf: Buffer): Buffer {
  return compressSync(buf).subarray(prefixBytes)
}

/**
 * The `uncompressedBytes` that the block holds, no more and no fewer, or PROTOCOL. The caller has compared
 * `uncompressedBytes` with its cap: this is the memory that is taken.
 */
export function lz4Uncompress(block: Buffer, uncompressedBytes: number): Buffer {
  const prefixed = Buffer.allocUnsafe(prefixBytes + block.length)
  prefixed.writeUInt32LE(uncompressedBytes, 0)
  block.copy(prefixed, prefixBytes)
  let out: Buffer
  try {
    out = uncompressSync(prefixed)
  } catch (reason) {
    throw new RingfenceError('PROTOCOL', 'malformed lz4 block', { cause: reason })
  }
  if (out.length !== uncompressedBytes) throw new RingfenceError('PROTOCOL', 'lz4 block is not as long as declared')
  return out
}
