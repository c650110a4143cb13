/**
 * A log read from where its copy ends, for who copies it.
 *
 * Rule: only what a checkpoint was signed for leaves: the disk has that, so no power cut takes back what somebody else has.
 */
import { readdirSync, rmSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { RingfenceError } from '../../base/errors.ts'
import { readIfThere } from '../../mesh/files.ts'
import type { Place } from './collected-log.ts'
import { serialOf } from './files.ts'
import { frameBytesMax, frameKind } from './format.ts'
import { frameEnd, kindAt } from './frames.ts'
import { HashTree } from './hash-tree.ts'
import { headOf } from './head.ts'
import { Tiles } from './tiles.ts'

export interface Piece extends Place {
  readonly frames: Buffer
  /** How many blocks are sealed before its end, and whether it ends with one. */
  readonly blocks: number
  readonly endsWithSeal: boolean
}

interface Segment {
  readonly name: string
  readonly serial: number
}

/** A recovery may have to read so many of the newest ones. */
const keptSegments = 3
/** Of a seal: length, kind and the number of its block. */
const sealBytesMin = 11

export class PiecesOfLog {
  readonly #directory: string
  readonly #bytesMax: number
  /** Of which block the frames are that follow at a place. */
  #known: { readonly at: Place; readonly block: number } | undefined

  /** @param bytesMax of a piece; at least as much as a frame may have */
  constructor(directory: string, bytesMax: number) {
    this.#directory = directory
    this.#bytesMax = Math.max(bytesMax, frameBytesMax + 2)
  }

  /**
   * What follows of the first `signed` blocks; undefined where there is nothing yet.
   * @throws RingfenceError UNAVAILABLE where the copy ends behind what is here; Error where it can't be read
   */
  async next(place: Place, signed: number): Promise<Piece | undefined> {
    const segments = this.#segments()
    const before = serialOf(place.segment) ?? -1
    if (place.segment !== '' && !this.#has(place)) {
      throw new RingfenceError(
        'UNAVAILABLE',
        `the copy is ahead of this log: it has ${place.bytes} bytes of ${place.segment}, which are not here`,
      )
    }
    for (const { name, serial } of segments.filter((one) => one.serial >= before)) {
      const bytes = serial === before ? place.bytes : 0
      const at = { segment: name, bytes }
      const block = await this.#blockAt(at)
      const piece = await this.#read(at, this.#bytesMax)
      const walked = walk(piece, { block, signed })
      const { sealedEnd, nextBlock } = walked
      // Whole blocks where there is one: who copies them checks each as soon as it is there.
      const end = piece.length === this.#bytesMax && sealedEnd > 0 ? sealedEnd : walked.end
      if (end > 0) {
        this.#known = { at: { segment: name, bytes: bytes + end }, block: nextBlock }
        return { ...at, frames: piece.subarray(0, end), blocks: nextBlock, endsWithSeal: end === sealedEnd }
      }
      if (nextBlock >= signed) return undefined
    }
    return undefined
  }

  /** What the copy does not have, signed or not. */
  waitingBytes(place: Place): number {
    const before = this.#has(place) ? (serialOf(place.segment) ?? -1) : -1
    return this.#segments()
      .filter(({ serial }) => serial >= before)
      .reduce((sum, { name, serial }) => sum + this.#sizeOf(name) - (serial === before ? place.bytes : 0), 0)
  }

  /** Removes the oldest segments that the copy has as a whole, while all take more than this. */
  removeBeyond(bytesMax: number, place: Place): number {
    const segments = this.#segments()
    let left = segments.reduce((sum, { name }) => sum + this.#sizeOf(name), 0)
    let removed = 0
    const before = serialOf(place.segment) ?? -1
    for (const { name, serial } of segments.slice(0, -keptSegments)) {
      if (left <= bytesMax || serial >= before) break
      left -= this.#sizeOf(name)
      rmSync(join(this.#directory, name))
      removed++
    }
    return removed
  }

  /** From the first `blocks` to the first `size` blocks. @throws RingfenceError UNAVAILABLE where they are not here; Error where tiles are not */
  proof(blocks: number, size: number): readonly Buffer[] {
    if (blocks === 0 || blocks >= size) return []
    // Both are read in one turn, in which nothing is published.
    const written = Number(readIfThere(join(this.#directory, 'checkpoint'))?.split('\n')[1])
    if (!(size <= written)) {
      throw new RingfenceError(
        'UNAVAILABLE',
        `the control plane has seen ${size} blocks of this log, and the tree here has ${written}`,
      )
    }
    return new HashTree(new Tiles(this.#directory), written, size).consistency(blocks)
  }

  #has({ segment, bytes }: Place): boolean {
    return serialOf(segment) !== undefined && this.#sizeOf(segment) >= bytes
  }

  async #blockAt(at: Place): Promise<number> {
    const known = this.#known
    if (known?.at.segment === at.segment && known.at.bytes === at.bytes) return known.block
    let from = 0
    let block = headOf(await this.#read({ ...at, bytes: 0 }, this.#bytesMax))?.blocks ?? 0
    while (from < at.bytes) {
      const piece = await this.#read({ ...at, bytes: from }, Math.min(this.#bytesMax, at.bytes - from))
      const { end, nextBlock } = walk(piece, { block, signed: Number.POSITIVE_INFINITY })
      if (end === 0) break
      from += end
      block = nextBlock
    }
    return block
  }

  async #read({ segment, bytes }: Place, bytesMax: number): Promise<Buffer> {
    await using file = await open(join(this.#directory, segment))
    const buffer = Buffer.allocUnsafe(bytesMax)
    const { bytesRead } = await file.read(buffer, 0, bytesMax, bytes)
    return buffer.subarray(0, bytesRead)
  }

  #segments(): Segment[] {
    return readdirSync(this.#directory)
      .flatMap((name) => {
        const serial = serialOf(name)
        return serial === undefined ? [] : [{ name, serial }]
      })
      .sort((a, b) => a.serial - b.serial)
  }

  #sizeOf(name: string): number {
    return statSync(join(this.#directory, name), { throwIfNoEntry: false })?.size ?? 0
  }
}

interface Walked {
  readonly end: number
  /** Behind the last seal; 0 where there is none. */
  readonly sealedEnd: number
  /** Of the frames that follow. */
  readonly nextBlock: number
}

/** How far whole frames of the first `signed` blocks go. */
function walk(bytes: Buffer, { block: first, signed }: { readonly block: number; readonly signed: number }): Walked {
  let block = first
  let at = 0
  let sealedEnd = 0
  while (block < signed) {
    const end = frameEnd(bytes, at)
    if (end < 0) break
    if (kindAt(bytes, at) === frameKind.seal && end - at >= sealBytesMin) {
      block = Number(bytes.readBigUInt64BE(at + 3)) + 1
      sealedEnd = end
    }
    at = end
  }
  return { end: at, sealedEnd, nextBlock: block }
}
