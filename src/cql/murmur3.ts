/**
 * The token of a partition key under Cassandra's default partitioner (`dht/Murmur3Partitioner.java`, `utils/MurmurHash.java`
 * hash3_x64_128). It is the first half of Murmur3, with one quirk: the last 1..15 bytes are sign-extended. 64-bit numbers are pairs of
 * 32-bit halves here, because BigInt would cost microseconds per key.
 */

/** What `murmur3Token` found last: the upper half is signed, the lower one an int32 that is compared without its sign. */
export const token = { high: 0, low: 0 }

// c1 = 0x87c37b91114253d5, c2 = 0x4cf5ad432745937f
const c1High = 0x87c37b91 | 0
const c1Low = 0x114253d5
const c2High = 0x4cf5ad43
const c2Low = 0x2745937f

/** High half of the last `multiply`, `rotate` or `add`; the low half is what they answer. */
let high = 0

/** The upper 32 bits of a product of two unsigned 32-bit numbers. No sum here is above 2^32 - 1, so all of it stays in 32 bits. */
function upper(a: number, b: number): number {
  const aLow = a & 0xffff
  const aHigh = a >>> 16
  const bLow = b & 0xffff
  const bHigh = b >>> 16
  const mid = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0
  const mid2 = (Math.imul(aLow, bHigh) + (mid & 0xffff)) | 0
  return (Math.imul(aHigh, bHigh) + (mid >>> 16) + (mid2 >>> 16)) | 0
}

function multiply(aHigh: number, aLow: number, bHigh: number, bLow: number): number {
  high = (upper(aLow, bLow) + Math.imul(aHigh, bLow) + Math.imul(aLow, bHigh)) | 0
  return Math.imul(aLow, bLow)
}

/** To the left by 1..31. */
function rotate(aHigh: number, aLow: number, bits: number): number {
  high = (aHigh << bits) | (aLow >>> (32 - bits))
  return (aLow << bits) | (aHigh >>> (32 - bits))
}

function add(aHigh: number, aLow: number, bHigh: number, bLow: number): number {
  const low = (aLow >>> 0) + (bLow >>> 0)
  high = (aHigh + bHigh + (low > 0xffffffff ? 1 : 0)) | 0
  return low | 0
}

/** The finaliser: two rounds of shift by 33 and multiplication, and a last shift. */
function finish(aHigh: number, aLow: number): number {
  // A shift by 33 to the right moves the high half, less one bit, into the low one.
  let low = multiply(aHigh, aLow ^ (aHigh >>> 1), 0xff51afd7 | 0, 0xed558ccd | 0)
  low = multiply(high, low ^ (high >>> 1), 0xc4ceb9fe | 0, 0x1a85ec53)
  return low ^ (high >>> 1)
}

/**
 * Leaves in `token` the token of the serialised key `buf[start..end)`: −2^63 for an empty key, else −2^63 + 1 .. 2^63 − 1.
 * Allocates nothing; the holder is good until the next call.
 */
export function murmur3Token(buf: Buffer, start: number, end: number): void {
  if (end === start) {
    // The smallest token is reserved for "before all", where Cassandra puts a key of no bytes.
    token.high = -0x80000000
    token.low = 0
    return
  }
  const bytes = end - start
  let h1High = 0
  let h1Low = 0
  let h2High = 0
  let h2Low = 0
  let at = start
  for (; end - at >= 16; at += 16) {
    let low = mixK1(buf.readInt32LE(at + 4), buf.readInt32LE(at))
    h1Low ^= low
    h1High ^= high
    low = rotate(h1High, h1Low, 27)
    low = add(high, low, h2High, h2Low)
    low = multiply(high, low, 0, 5)
    h1Low = add(high, low, 0, 0x52dce729)
    h1High = high
    low = mixK2(buf.readInt32LE(at + 12), buf.readInt32LE(at + 8))
    h2Low ^= low
    h2High ^= high
    low = rotate(h2High, h2Low, 31)
    low = add(high, low, h1High, h1Low)
    low = multiply(high, low, 0, 5)
    h2Low = add(high, low, 0, 0x38495ab5)
    h2High = high
  }
  if (end - at > 8) {
    const low = mixK2(tailHigh(buf, at + 8, end), tailLow(buf, at + 8, end))
    h2Low ^= low
    h2High ^= high
  }
  if (end > at) {
    const tailEnd = Math.min(end, at + 8)
    const low = mixK1(tailHigh(buf, at, tailEnd), tailLow(buf, at, tailEnd))
    h1Low ^= low
    h1High ^= high
  }
  h1Low ^= bytes
  h2Low ^= bytes
  h1Low = add(h1High, h1Low, h2High, h2Low)
  h1High = high
  h2Low = add(h2High, h2Low, h1High, h1Low)
  h2High = high
  const f2Low = finish(h2High, h2Low)
  const f2High = high
  const f1Low = finish(h1High, h1Low)
  const low = add(high, f1Low, f2High, f2Low)
  if (high === -0x80000000 && low === 0) {
    // A hash that is the smallest token becomes the largest (Murmur3Partitioner.normalize).
    token.high = 0x7fffffff
    token.low = -1
    return
  }
  token.high = high
  token.low = low
}

function mixK1(kHigh: number, kLow: number): number {
  let low = multiply(kHigh, kLow, c1High, c1Low)
  low = rotate(high, low, 31)
  return multiply(high, low, c2High, c2Low)
}

/** Rotates by 33: by 32, which swaps the halves, and one more. */
function mixK2(kHigh: number, kLow: number): number {
  let low = multiply(kHigh, kLow, c2High, c2Low)
  low = rotate(low, high, 1)
  return multiply(high, low, c1High, c1Low)
}

/** Up to eight bytes, each as a signed one shifted into place and xored: a negative byte flips every bit above it. */
function tailLow(buf: Buffer, start: number, end: number): number {
  let low = 0
  for (let at = Math.min(end, start + 4) - 1; at >= start; at--) low ^= ((buf[at]! << 24) >> 24) << (8 * (at - start))
  return low
}

function tailHigh(buf: Buffer, start: number, end: number): number {
  let top = 0
  for (let at = end - 1; at >= start + 4; at--) top ^= ((buf[at]! << 24) >> 24) << (8 * (at - start - 4))
  for (let at = Math.min(end, start + 4) - 1; at >= start; at--) if (buf[at]! >= 0x80) top ^= -1
  return top
}
