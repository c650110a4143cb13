/** The Merkle tree of RFC 6962: hashes, and the roots that its right edge is made of. */
import { hash } from 'node:crypto'

const leafPrefix = Buffer.from([0])
const nodePrefix = Buffer.from([1])

export function sha256(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer')
}

export function leafHash(leaf: Buffer): Buffer {
  return sha256(Buffer.concat([leafPrefix, leaf]))
}

export function nodeHash(left: Buffer, right: Buffer): Buffer {
  return sha256(Buffer.concat([nodePrefix, left, right]))
}

/** The root of `hashes`, each that of a whole subtree of one size. @param hashes not empty */
export function rootOf(hashes: readonly Buffer[]): Buffer {
  const edge = new Edge()
  for (const each of hashes) edge.add(each)
  return edge.root()
}

/** The roots of the perfect subtrees that a tree of this size is made of, from the largest. */
export class Edge {
  #parts: { size: number; hash: Buffer }[] = []
  #size = 0

  copy(): Edge {
    const copy = new Edge()
    copy.#parts = [...this.#parts]
    copy.#size = this.#size
    return copy
  }

  get size(): number {
    return this.#size
  }

  /** Goes on with a leaf, or with the root of `leaves` of them, a power of two that divides the size so far. */
  add(hash: Buffer, leaves = 1): void {
    let part = { size: leaves, hash }
    for (let last = this.#parts.at(-1); last?.size === part.size; last = this.#parts.at(-1)) {
      this.#parts.pop()
      part = { size: part.size * 2, hash: nodeHash(last.hash, part.hash) }
    }
    this.#parts.push(part)
    this.#size += leaves
  }

  root(): Buffer {
    const parts = [...this.#parts]
    let root = parts.pop()?.hash ?? sha256(Buffer.alloc(0))
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) root = nodeHash(part.hash, root)
    return root
  }
}

export interface InclusionProof {
  readonly index: number
  readonly size: number
  readonly hashes: readonly Buffer[]
}

/** The root that a proof leads to; undefined where it is too long or too short. */
export function rootByProof(leaf: Buffer, { index, size, hashes }: InclusionProof): Buffer | undefined {
  if (size === 1) return hashes.length === 0 ? leaf : undefined
  const last = hashes.at(-1)
  if (last === undefined || index >= size) return undefined
  let left = 1
  while (left * 2 < size) left *= 2
  const rest = hashes.slice(0, -1)
  if (index < left) {
    const below = rootByProof(leaf, { index, size: left, hashes: rest })
    return below && nodeHash(below, last)
  }
  const below = rootByProof(leaf, { index: index - left, size: size - left, hashes: rest })
  return below && nodeHash(last, below)
}
