/**
 * The copy of one log, as it comes piece by piece: a folder that is a log itself, with tiles and a checkpoint, and is verified and asked as one.
 *
 * Rule: a segment of it has whole blocks only, each one checked against what the witness signed before it was written, and acknowledged as kept
 * when the disk has it. What was sent of a block that has no seal yet is in memory, and is sent again where that is gone. So whatever is killed,
 * the copy is a beginning of the log, each byte once.
 */
import { readFileSync, rmSync, truncateSync } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { flushFolder } from '../../mesh/files.ts'
import { makeDirectory } from '../directory.ts'
import { type CheckedPart, checkPart, differs, type LogOwner, OpenBlock, type SegmentPart } from './copied-blocks.ts'
import { serialOf } from './files.ts'
import { frameKind } from './format.ts'
import { FrameReader, wholeFrames } from './frames.ts'
import { isConsistent } from './hash-tree.ts'
import type { Checkpoint } from './note.ts'
import { segmentsOf, startOfSegment, treeOf } from './recover.ts'
import { cannotGoOn } from './scan.ts'
import type { Tiles } from './tiles.ts'
import type { Edge } from './tree.ts'

/** Where a copy ends. */
export interface Place {
  /** The empty text where there is no segment yet. */
  readonly segment: string
  readonly bytes: number
}

/** What the witness has signed last of a log. */
export interface WitnessedTree extends Checkpoint {
  /** With the lines of who signed it. */
  readonly note: string
}

export interface TakenPiece extends SegmentPart {
  /** From the blocks that are here with this piece to those that the witness has signed (RFC 6962). */
  readonly proof: readonly Buffer[]
}

export class CollectedLog {
  readonly #directory: string
  readonly #owner: LogOwner
  readonly #tiles: Tiles
  /** What the disk has: whole blocks. */
  #kept: Place
  #published: number
  /** What came behind it. */
  #open = new OpenBlock()
  #waiting: SegmentPart[] = []

  /** Goes on with what is there. @throws RingfenceError UNAVAILABLE where that is not what was collected */
  constructor(directory: string, owner: LogOwner) {
    makeDirectory(directory)
    this.#directory = directory
    this.#owner = owner
    const { tiles, signed } = treeOf(directory, owner.key, segmentsOf(directory).length > 0)
    this.#tiles = tiles
    this.#published = signed
    this.#kept = readOn(directory, tiles, owner)
  }

  /** Where it goes on. What is before may be in memory only. */
  get place(): Place {
    const last = this.#waiting.at(-1)
    return last === undefined ? this.#kept : { segment: last.segment, bytes: last.bytes + last.frames.length }
  }

  /** Blocks that the disk has. */
  get size(): number {
    return this.#tiles.size
  }

  /** In memory. */
  get waitingBytes(): number {
    return this.#waiting.reduce((sum, { frames }) => sum + frames.length, 0)
  }

  /** What has no seal yet is asked for again. */
  leaveWaiting(): void {
    this.#waiting = []
    this.#open = new OpenBlock()
  }

  /** Whether the copy is the beginning of what the witness signed, as far as that can be told without a proof. */
  agrees(known: Checkpoint): boolean {
    return this.size !== known.size || this.#tiles.root().equals(known.root)
  }

  /** The checkpoint of all blocks that are here is that of the witness, where it has signed no more than these. */
  publish({ size, note }: Pick<WitnessedTree, 'size' | 'note'>): void {
    if (size !== this.size || size === this.#published) return
    this.#tiles.publish(note)
    this.#published = size
  }

  /**
   * Takes whole frames that begin at `place`, and resolves when the disk has the blocks that end in them. Where it throws UNAVAILABLE nothing
   * of it is kept, and the block that it goes on is asked for again. After another error this object is not used any more.
   * @throws RingfenceError UNAVAILABLE for what is not what was sealed and witnessed; Error where it cannot be written
   */
  async take(piece: TakenPiece, known: WitnessedTree): Promise<void> {
    const edge = this.#tiles.edge()
    let checked: CheckedPart
    try {
      if (piece.segment !== this.place.segment || piece.segment === '') this.#mustFollow(piece)
      checked = checkPart(piece, this.#open, edge, this.#owner)
      if (checked.leaves.length > 0) mustBeWitnessed(edge, known, piece)
    } catch (reason) {
      // Nobody knows which part of a block was changed.
      this.leaveWaiting()
      throw reason
    }
    const { segment, bytes, frames } = piece
    const { sealedEnd, open: openNow, leaves, note } = checked
    const sealed = sealedEnd === 0 ? [] : [...this.#waiting, { segment, bytes, frames: frames.subarray(0, sealedEnd) }]
    for (const part of sealed) await this.#append(part)
    // The last checkpoint in it counts where that of the witness is of more blocks than are here.
    const tell = (): void => {
      if (note?.size === this.size && note.size !== known.size) this.publish({ size: note.size, note: note.text })
    }
    tell()
    for (const leaf of leaves) {
      this.#tiles.add(leaf)
      tell()
    }
    this.#open = openNow
    if (sealedEnd > 0) this.#waiting = []
    const rest = frames.subarray(sealedEnd)
    if (rest.length > 0) this.#waiting.push({ segment, bytes: bytes + sealedEnd, frames: rest })
    this.publish(known)
  }

  #mustFollow({ segment, bytes }: SegmentPart): void {
    const [serial, before] = [serialOf(segment), serialOf(this.place.segment)]
    if (serial === undefined) throw differs('a segment', 'has no name of one')
    if (bytes !== 0 || (before !== undefined && serial <= before))
      throw differs(segment, 'does not follow what is here')
  }

  /** Its segment was checked to have a name of one, and it follows what the disk has. */
  async #append({ segment, frames }: SegmentPart): Promise<void> {
    const path = join(this.#directory, segment)
    const isNew = segment !== this.#kept.segment
    await using file = await open(path, isNew ? 'ax' : 'a', 0o600)
    await file.writeFile(frames)
    await file.datasync()
    if (isNew) flushFolder(this.#directory)
    const bytes = (isNew ? 0 : this.#kept.bytes) + frames.length
    const { size } = await stat(path)
    if (size !== bytes) throw new Error(`${segment} has ${size} bytes here where ${bytes} were collected`)
    this.#kept = { segment, bytes }
  }
}

/** With the new blocks it is a beginning of what the witness signed, or all of it. */
function mustBeWitnessed(edge: Edge, known: WitnessedTree, { segment, proof }: TakenPiece): void {
  const now = { size: edge.size, root: edge.root() }
  const isSame = now.size === known.size ? now.root.equals(known.root) : isConsistent(now, known, proof)
  if (!isSame) throw differs(segment, `has blocks up to ${now.size - 1} that are not those that the witness has signed`)
}

/** Takes what the tiles do not have into them. What is behind the last seal goes: it was written when a process was killed. */
function readOn(directory: string, tiles: Tiles, owner: LogOwner): Place {
  const paths = segmentsOf(directory)
  const first = paths.findLastIndex((path) => (startOfSegment(path).head?.blocks ?? tiles.size) < tiles.size)
  let kept: Place = { segment: '', bytes: 0 }
  let open = new OpenBlock()
  let isFound = tiles.size === 0
  for (const path of paths.slice(Math.max(first, 0))) {
    const segment = basename(path)
    const all = readFileSync(path)
    const whole = all.subarray(0, wholeFrames(all))
    const from = isFound ? 0 : behindSeal(whole, tiles.size - 1)
    if (from === undefined) continue
    isFound = true
    const checked = checkPart({ segment, bytes: from, frames: whole.subarray(from) }, open, tiles.edge(), owner)
    for (const leaf of checked.leaves) tiles.add(leaf)
    open = checked.open
    if (from + checked.sealedEnd > 0) kept = { segment, bytes: from + checked.sealedEnd }
  }
  if (!isFound) throw cannotGoOn('blocks that its tree has are not in its segments')
  for (const path of paths.reverse()) {
    if (basename(path) === kept.segment) {
      truncateSync(path, kept.bytes)
      break
    }
    rmSync(path)
  }
  return kept
}

/** Where the seal of a block ends; undefined where it is not there. */
function behindSeal(frames: Buffer, block: number): number | undefined {
  const reader = new FrameReader(frames)
  while (reader.next()) {
    if (reader.kind !== frameKind.seal) continue
    const seal = reader.rest()
    if (seal.length >= 8 && Number(seal.readBigUInt64BE(0)) === block) return reader.end
  }
  return undefined
}
