/** Raw LZ4 blocks, as CQL carries them: the length stands elsewhere. The library's form has a 4-byte little-endian length first. */
import { compressSync, uncompress, uncompressSync } from 'lz4-napi'
import { ConcurrencyLimit } from '../base/concurrency-limit.ts'
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
  let out: Buffer
  try {
    out = uncompressSync(prefixed(block, uncompressedBytes))
  } catch (reason) {
    throw malformed(reason)
  }
  return checked(out, uncompressedBytes)
}

/** The same on a thread of the pool: 16 MiB take 20 ms. `block` is not kept. */
export async function lz4UncompressBeside(block: Buffer, uncompressedBytes: number): Promise<Buffer> {
  const whole = prefixed(block, uncompressedBytes)
  let out: Buffer
  try {
    out = await beside.run('all', () => uncompress(whole))
  } catch (reason) {
    throw malformed(reason)
  }
  return checked(out, uncompressedBytes)
}

/**
 * The pool has other work too: the signatures of log-ins, names to be looked up. One for each connection waits at most, and what they come to
 * is in the accounts of the clients.
 */
const beside = new ConcurrencyLimit<'all'>(2)

function prefixed(block: Buffer, uncompressedBytes: number): Buffer {
  const whole = Buffer.allocUnsafe(prefixBytes + block.length)
  whole.writeUInt32LE(uncompressedBytes, 0)
  block.copy(whole, prefixBytes)
  return whole
}

function malformed(reason: unknown): RingfenceError {
  return new RingfenceError('PROTOCOL', 'malformed lz4 block', { cause: reason })
}

function checked(out: Buffer, uncompressedBytes: number): Buffer {
  if (out.length !== uncompressedBytes) throw new RingfenceError('PROTOCOL', 'lz4 block is not as long as declared')
  return out
}
