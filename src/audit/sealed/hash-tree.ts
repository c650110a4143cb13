/** Roots of parts of the tree that lies in tiles, and the proofs that are made of them (RFC 6962 §2.1). */

import type { Tiles } from './tiles.ts'
import { nodeHash } from './tree.ts'

const width = 256

export class HashTree {
  readonly #tiles: Tiles
  readonly #size: number
  readonly #written: number
  #tile: { readonly level: number; readonly number: number; readonly hashes: readonly Buffer[] } | undefined

  /** @param written the size of the checkpoint that the tiles were last written for; @param size of the tree, which may be an earlier one */
  constructor(tiles: Tiles, written: number, size = written) {
    this.#tiles = tiles
    this.#size = size
    this.#written = written
  }

  /** The hashes that lead from a leaf to the root. @throws Error where a tile is missing */
  inclusion(index: number, from = 0, to = this.#size): Buffer[] {
    if (to - from === 1) return []
    const middle = from + leftOf(to - from)
    return index < middle
      ? [...this.inclusion(index, from, middle), this.root(middle, to)]
      : [...this.inclusion(index, middle, to), this.root(from, middle)]
  }

  /** That the first `old` leaves are those of the tree of `old`. @param old above 0 @throws Error where a tile is missing */
  consistency(old: number): Buffer[] {
    return this.#consistency(old, 0, this.#size, true)
  }

  /** Of the leaves from `from` up to `to`. */
  root(from: number, to: number): Buffer {
    const count = to - from
    for (let level = 0, leaves = 1; ; level++, leaves *= width) {
      if (count === leaves) return this.#hash(level, from / leaves)
      if (count < leaves) break
    }
    const middle = from + leftOf(count)
    return nodeHash(this.root(from, middle), this.root(middle, to))
  }

  #consistency(old: number, from: number, to: number, isWhole: boolean): Buffer[] {
    const count = to - from
    if (old === count) return isWhole ? [] : [this.root(from, to)]
    const left = leftOf(count)
    return old <= left
      ? [...this.#consistency(old, from, from + left, isWhole), this.root(from + left, to)]
      : [...this.#consistency(old - left, from + left, to, false), this.root(from, from + left)]
  }

  #hash(level: number, index: number): Buffer {
    const number = Math.floor(index / width)
    if (this.#tile?.level !== level || this.#tile.number !== number) {
      const count = Math.floor(this.#written / width ** level) - number * width
      this.#tile = { level, number, hashes: this.#tiles.hashes(level, number, Math.min(count, width)) }
    }
    return this.#tile.hashes[index % width]!
  }
}

/** Whether `proof` leads from the root of `old` leaves to that of `size`. */
export function isConsistent(
  old: { size: number; root: Buffer },
  now: { size: number; root: Buffer },
  proof: readonly Buffer[],
): boolean {
  if (old.size === 0) return proof.length === 0
  if (old.size > now.size) return false
  const left = [...proof]
  const roots = rootsBy(old.size, now.size, old.root, left, true)
  return roots !== undefined && left.length === 0 && roots[0].equals(old.root) && roots[1].equals(now.root)
}

/** The roots of both sizes, by hashes that are taken from the proof. */
function rootsBy(
  old: number,
  size: number,
  oldRoot: Buffer,
  proof: Buffer[],
  isWhole: boolean,
): [Buffer, Buffer] | undefined {
  if (old === size) {
    const root = isWhole ? oldRoot : proof.shift()
    return root && [root, root]
  }
  const left = leftOf(size)
  const isLeft = old <= left
  const below = isLeft
    ? rootsBy(old, left, oldRoot, proof, isWhole)
    : rootsBy(old - left, size - left, oldRoot, proof, false)
  const beside = proof.shift()
  if (below === undefined || beside === undefined) return undefined
  return isLeft ? [below[0], nodeHash(below[1], beside)] : [nodeHash(beside, below[0]), nodeHash(beside, below[1])]
}

/** How many leaves stand left of the middle: the largest power of two below `count`. */
function leftOf(count: number): number {
  let left = 1
  while (left * 2 < count) left *= 2
  return left
}
