/**
 * The copy of one log, as it comes piece by piece: a folder that is a log itself, with tiles and a checkpoint, and is verified and asked as one.
 *
 * Rule: nothing is written that is not what its seals and checkpoints say, and it is acknowledged when the disk has it. So whatever is killed,
 * the copy is a beginning of the log, each byte once.
 */
import { readFileSync, rmSync, truncateSync } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { RingfenceError } from '../../base/errors.ts'
import { flushFolder } from '../../mesh/files.ts'
import { makeDirectory } from '../directory.ts'
import { serialOf } from './files.ts'
import { frameKind } from './format.ts'
import { FrameReader, wholeFrames } from './frames.ts'
import { HashTree } from './hash-tree.ts'
import { type Checkpoint, type NoteKey, openCheckpoint } from './note.ts'
import { beginScan, segmentsOf } from './recover.ts'
import type { Scan } from './scan.ts'
import { Tiles } from './tiles.ts'

/** Where a copy ends. */
export interface Place {
  /** The empty text where there is no segment yet. */
  readonly segment: string
  readonly bytes: number
}

/** What `segmentName` makes, and nothing that leads out of the folder. */
const namePattern = /^audit-[A-Za-z0-9._-]{1,200}\.sealed$/

export class CollectedLog {
  readonly #directory: string
  readonly #key: NoteKey
  readonly #scan: Scan
  readonly #tiles: Tiles
  #segment = ''
  #bytes = 0
  #published = 0

  /** Goes on with what is there. @throws RingfenceError UNAVAILABLE where that is not what was collected */
  constructor(directory: string, key: NoteKey) {
    makeDirectory(directory)
    this.#directory = directory
    this.#key = key
    const { scan, tiles, paths, signed } = beginScan(directory, key)
    this.#scan = scan
    this.#tiles = tiles
    this.#published = signed
    const last = paths.at(-1)
    if (last === undefined) return
    this.#segment = basename(last)
    const bytes = readFileSync(last)
    this.#bytes = wholeFrames(bytes)
    // What a process that was killed left of a piece.
    if (this.#bytes < bytes.length) truncateSync(last, this.#bytes)
  }

  get place(): Place {
    return { segment: this.#segment, bytes: this.#bytes }
  }

  /**
   * Takes whole frames that begin at `place`, and resolves when the disk has them. After it has thrown, this object is not used any more.
   * @throws RingfenceError UNAVAILABLE for what is not what was sealed; Error where it cannot be written
   */
  async take({ segment, bytes }: Place, frames: Buffer): Promise<void> {
    if (segment !== this.#segment || segment === '') this.#mustFollow(segment, bytes, frames)
    if (wholeFrames(frames) !== frames.length) throw differs(segment, 'has bytes that are no frame')
    for (const { part, checkpoint } of partsOf(frames)) {
      this.#mustBeSealed(part, segment)
      await this.#append(segment, part)
      if (checkpoint !== undefined) this.#publish(checkpoint)
    }
  }

  /** Whether the copy goes on from what is known elsewhere. @param known a checkpoint of this log */
  agrees(known: Checkpoint): boolean {
    if (known.size > this.#published || known.size === 0) return true
    const root = new HashTree(new Tiles(this.#directory), this.#published).root(0, known.size)
    return root.equals(known.root)
  }

  /** Where it is not what was sealed, what came of its block before goes too: nobody knows which part was changed. */
  #mustBeSealed(part: Buffer, segment: string): void {
    try {
      // A start passes over blocks that its tree has: here each is the next one.
      const reader = new FrameReader(part)
      for (let block = this.#tiles.size; reader.next(); )
        if (reader.kind === frameKind.seal && blockOf(reader.rest()) !== block++)
          throw differs(segment, `has another block where block ${block - 1} should stand`)
      this.#scan.segment(part, segment)
    } catch (reason) {
      dropUnsealed(this.#directory)
      throw reason
    }
  }

  #mustFollow(segment: string, bytes: number, frames: Buffer): void {
    const [serial, before] = [serialOf(segment), serialOf(this.#segment)]
    if (!namePattern.test(segment) || serial === undefined) throw differs('a segment', 'has no name of one')
    if (bytes !== 0 || (before !== undefined && serial <= before))
      throw differs(segment, 'does not follow what is here')
    const reader = new FrameReader(frames)
    if (!reader.next() || reader.kind !== frameKind.head) throw differs(segment, 'has no head')
  }

  async #append(segment: string, part: Buffer): Promise<void> {
    const path = join(this.#directory, segment)
    await using file = await open(path, 'a', 0o600)
    await file.writeFile(part)
    await file.datasync()
    if (segment !== this.#segment) {
      flushFolder(this.#directory)
      this.#segment = segment
      this.#bytes = 0
    }
    this.#bytes += part.length
    const { size } = await stat(path)
    if (size !== this.#bytes) throw differs(segment, `has ${size} bytes here where ${this.#bytes} were collected`)
  }

  /** Of the blocks before it, which are here. */
  #publish(note: string): void {
    const size = openCheckpoint(note, this.#key)?.size
    if (size !== this.#tiles.size || size === this.#published) return
    this.#tiles.publish(note)
    this.#published = size
  }
}

/** Frames up to the last checkpoint in them, which is published then, and the rest. */
function partsOf(frames: Buffer): { readonly part: Buffer; readonly checkpoint: string | undefined }[] {
  const reader = new FrameReader(frames)
  let end = 0
  let checkpoint: string | undefined
  while (reader.next()) {
    if (reader.kind !== frameKind.checkpoint) continue
    checkpoint = reader.rest().toString('utf8')
    end = reader.end
  }
  const parts = [
    { part: frames.subarray(0, end), checkpoint },
    { part: frames.subarray(end), checkpoint: undefined },
  ]
  return parts.filter(({ part }) => part.length > 0)
}

/** Of which a seal is. */
function blockOf(seal: Buffer): number {
  return seal.length < 8 ? -1 : Number(seal.readBigUInt64BE(0))
}

/** What stands behind the last seal. */
function dropUnsealed(directory: string): void {
  for (const path of segmentsOf(directory).reverse()) {
    const reader = new FrameReader(readFileSync(path))
    let end = 0
    while (reader.next()) if (reader.kind === frameKind.seal) end = reader.end
    if (end > 0) {
      truncateSync(path, end)
      return
    }
    rmSync(path)
  }
}

function differs(name: string, how: string): RingfenceError {
  return new RingfenceError('UNAVAILABLE', `${name} ${how}`)
}
