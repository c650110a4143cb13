/**
 * All tokens of a ring, ascending, each once and with the node that owns its range. A range ends with its token and begins
 * behind the one before; the first begins behind the last token and goes over the end of the ring.
 *
 * Tokens are pairs of 32-bit halves, as `cql/murmur3.ts` gives them: no BigInt when a request asks.
 */
import type { Ring } from '../../link/protocol.ts'

/** Flips the sign bit: an upper half then counts from 0, and signed comparison orders lower halves as unsigned numbers. */
const bias = -0x80000000
/** 4 MiB of slices. A ring with more tokens has more than one in each. */
const sliceBitsMax = 20

export class TokenTable {
  /** The number of the node that owns each range. */
  readonly owners: Int32Array
  readonly #highs: Int32Array
  /** Lower halves, biased. */
  readonly #lows: Int32Array
  /**
   * Equal parts of the token space, about two for each token: where the ranges of each begin, and behind all the end.
   * Hashes are even, so that a search within a slice has a step or two; where a ring is uneven it has a few more.
   */
  readonly #slices: Int32Array
  readonly #sliceShift: number

  /**
   * @param nodes in the order in which they come first to a token that several claim
   * @param numbers of the nodes, by host id
   */
  constructor(nodes: Ring['nodes'], numbers: ReadonlyMap<string, number>) {
    const claims = readClaims(nodes, numbers)
    // A native sort of the tokens alone and a search for each owner: a sort by a function of ours takes many times as long.
    const [highs, lows] = withoutRepeats(...halvesOf(claims.tokens.toSorted()))
    this.#highs = highs
    this.#lows = lows
    const sliceBits = Math.min(33 - Math.clz32(highs.length), sliceBitsMax)
    this.#sliceShift = 32 - sliceBits
    this.#slices = slicesOf(highs, sliceBits)
    this.owners = new Int32Array(highs.length).fill(-1)
    const [claimedHighs, claimedLows] = halvesOf(claims.tokens)
    for (let at = 0; at < claims.tokens.length; at++) {
      const range = this.rangeOf(claimedHighs[at]!, claimedLows[at]! ^ bias)
      if (this.owners[range] === -1) this.owners[range] = claims.claimants[at]!
    }
  }

  /** The range that holds a token, 0 .. owners.length - 1; 0 where the ring has none. Both halves are int32. */
  rangeOf(high: number, low: number): number {
    const highs = this.#highs
    const lows = this.#lows
    const biasedLow = low ^ bias
    const slice = (high ^ bias) >>> this.#sliceShift
    let first = this.#slices[slice]!
    let end = this.#slices[slice + 1]!
    while (first < end) {
      const middle = (first + end) >>> 1
      const other = highs[middle]!
      if (other < high || (other === high && lows[middle]! < biasedLow)) first = middle + 1
      else end = middle
    }
    return first === highs.length ? 0 : first
  }
}

/** Who claims which token, in the order given; a number beyond 64 bits is no token. */
function readClaims(
  nodes: Ring['nodes'],
  numbers: ReadonlyMap<string, number>,
): { tokens: BigInt64Array; claimants: Int32Array } {
  const tokens = new BigInt64Array(nodes.reduce((count, node) => count + node.tokens.length, 0))
  const claimants = new Int32Array(tokens.length)
  let count = 0
  for (const node of nodes) {
    for (const text of node.tokens) {
      const token = BigInt(text)
      if (BigInt.asIntN(64, token) !== token) continue
      tokens[count] = token
      claimants[count] = numbers.get(node.hostId)!
      count += 1
    }
  }
  return { tokens: tokens.subarray(0, count), claimants }
}

/** The upper halves, and the lower ones biased. */
function halvesOf(tokens: BigInt64Array): [Int32Array, Int32Array] {
  const highs = new Int32Array(tokens.length)
  const lows = new Int32Array(tokens.length)
  const view = new DataView(new ArrayBuffer(8))
  for (let at = 0; at < tokens.length; at++) {
    view.setBigInt64(0, tokens[at]!)
    highs[at] = view.getInt32(0)
    lows[at] = view.getInt32(4) ^ bias
  }
  return [highs, lows]
}

/** In place. */
function withoutRepeats(highs: Int32Array, lows: Int32Array): [Int32Array, Int32Array] {
  let count = 0
  for (let at = 0; at < highs.length; at++) {
    if (count > 0 && highs[at] === highs[count - 1] && lows[at] === lows[count - 1]) continue
    highs[count] = highs[at]!
    lows[count] = lows[at]!
    count += 1
  }
  return [highs.subarray(0, count), lows.subarray(0, count)]
}

function slicesOf(highs: Int32Array, sliceBits: number): Int32Array {
  const slices = new Int32Array(2 ** sliceBits + 1)
  let range = 0
  for (let slice = 0; slice < slices.length; slice++) {
    while (range < highs.length && (highs[range]! ^ bias) >>> (32 - sliceBits) < slice) range += 1
    slices[slice] = range
  }
  return slices
}
