/**
 * The tree on disk as C2SP lays it out (c2sp.org/tlog-tiles): 256 hashes a tile, tiles of tiles above, and the leaves beside them.
 *
 * Rule: a checkpoint is written after the tiles that it stands on, and older tiles go after it. So a process that is killed finds a tree for
 * the checkpoint that is there.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { blockHeaderBytes } from './format.ts'
import { Edge, leafHash, rootOf } from './tree.ts'

const width = 256
const hashBytes = 32
const entryBytes = 2 + blockHeaderBytes

interface Level {
  /** Of the last tile, which is not full. */
  hashes: Buffer[]
  fullTiles: number
}

/** `001`, `x001/234`. */
function tileName(number: number): string {
  const digits = [String(number % 1000).padStart(3, '0')]
  for (let rest = Math.floor(number / 1000); rest > 0; rest = Math.floor(rest / 1000))
    digits.unshift(`x${String(rest % 1000).padStart(3, '0')}`)
  return digits.join('/')
}

export class Tiles {
  readonly #directory: string
  readonly #levels: Level[] = []
  #entries: Buffer[] = []
  #edge = new Edge()
  /** Files of a part of a tile that stand there for the checkpoint before. */
  #parts: string[] = []
  /** Full tiles that are not written yet, by path. */
  readonly #full = new Map<string, Buffer>()

  constructor(directory: string) {
    this.#directory = directory
  }

  get size(): number {
    return this.#edge.size
  }

  root(): Buffer {
    return this.#edge.root()
  }

  /** To try blocks on that are not taken yet. */
  edge(): Edge {
    return this.#edge.copy()
  }

  /** Takes the leaf of one more block. Full tiles are written with the next `publish`. */
  add(leaf: Buffer): void {
    const hash = leafHash(leaf)
    this.#edge.add(hash)
    this.#entries.push(leaf)
    this.#push(0, hash)
    if (this.#entries.length === width) {
      this.#full.set(this.#path('entries', this.#levels[0]!.fullTiles - 1), entriesOf(this.#entries))
      this.#entries = []
    }
  }

  /** Writes what the checkpoint stands on, then the checkpoint. */
  publish(checkpoint: string): void {
    for (const [path, bytes] of this.#full) replace(path, bytes)
    this.#full.clear()
    const before = this.#parts
    this.#parts = []
    for (const [level, { hashes, fullTiles }] of this.#levels.entries())
      if (hashes.length > 0) this.#writePart(String(level), fullTiles, Buffer.concat(hashes), hashes.length)
    const entries = this.#entries
    if (entries.length > 0) this.#writePart('entries', this.#levels[0]!.fullTiles, entriesOf(entries), entries.length)
    replace(join(this.#directory, 'checkpoint'), checkpoint)
    const kept = new Set(this.#parts)
    for (const path of before) if (!kept.has(path)) rmSync(path, { force: true })
  }

  /**
   * The tree of a checkpoint, from what `publish` wrote.
   * @throws Error where a tile of it is missing or does not lead to its root
   */
  restore(size: number, root: Buffer): void {
    this.#edge = new Edge()
    this.#levels.length = 0
    const counts: number[] = []
    for (let left = size; left > 0; left = Math.floor(left / width)) counts.push(left)
    for (let level = counts.length - 1; level >= 0; level--) {
      const fullTiles = Math.floor(counts[level]! / width)
      const count = counts[level]! % width
      const hashes = count === 0 ? [] : this.hashes(level, fullTiles, count)
      this.#levels[level] = { hashes, fullTiles }
      for (const hash of hashes) this.#edge.add(hash, width ** level)
    }
    const entries = size % width
    this.#entries = entries === 0 ? [] : this.leaves(Math.floor(size / width), entries)
    if (!this.root().equals(root)) throw new Error('the tiles do not lead to the root of the checkpoint')
  }

  /** The first `count` hashes of a tile. @throws Error where they are not there */
  hashes(level: number, number: number, count = width): Buffer[] {
    const bytes = this.#read(String(level), number, count)
    return partsOf(bytes, count, { part: hashBytes, skip: 0 })
  }

  /** The first `count` leaves of a tile. @throws Error where they are not there */
  leaves(number: number, count = width): Buffer[] {
    const bytes = this.#read('entries', number, count)
    return partsOf(bytes, count, { part: entryBytes, skip: 2 })
  }

  #push(at: number, hash: Buffer): void {
    this.#levels[at] ??= { hashes: [], fullTiles: 0 }
    const level = this.#levels[at]
    level.hashes.push(hash)
    if (level.hashes.length < width) return
    this.#full.set(this.#path(String(at), level.fullTiles), Buffer.concat(level.hashes))
    level.fullTiles++
    this.#push(at + 1, rootOf(level.hashes))
    level.hashes = []
  }

  #writePart(kind: string, number: number, bytes: Buffer, count: number): void {
    const path = join(`${this.#path(kind, number)}.p`, String(count))
    this.#parts.push(path)
    replace(path, bytes)
  }

  #path(kind: string, number: number): string {
    return join(this.#directory, 'tile', kind, tileName(number))
  }

  #read(kind: string, number: number, count: number): Buffer {
    const whole = this.#path(kind, number)
    const isWhole = count === width || statSync(whole, { throwIfNoEntry: false }) !== undefined
    return readFileSync(isWhole ? whole : join(`${whole}.p`, String(count)))
  }
}

/** Beside, then over what was there. Not flushed: what goes with the power is made again from the segments. */
function replace(path: string, bytes: Buffer | string): void {
  const beside = `${path}.new`
  try {
    writeFileSync(beside, bytes, { mode: 0o600 })
  } catch {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeFileSync(beside, bytes, { mode: 0o600 })
  }
  renameSync(beside, path)
}

function entriesOf(leaves: readonly Buffer[]): Buffer {
  const length = Buffer.from([blockHeaderBytes >> 8, blockHeaderBytes & 0xff])
  return Buffer.concat(leaves.flatMap((leaf) => [length, leaf]))
}

/** Equal parts, of which what counts begins behind `skip` bytes. */
function partsOf(bytes: Buffer, count: number, { part, skip }: { part: number; skip: number }): Buffer[] {
  if (bytes.length < count * part) throw new Error('a tile is too short')
  return Array.from({ length: count }, (_, at) => bytes.subarray(at * part + skip, (at + 1) * part))
}
