/**
 * Where a log stands, read from its files at a start: its tree, its last number, what was not sealed, and the intents of which nobody knows
 * what became of them.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { RingfenceError } from '../../base/errors.ts'
import { readIfThere } from '../../mesh/files.ts'
import { Block } from './block.ts'
import { serialOf } from './files.ts'
import { frameKind, isNumbered, type SegmentHead } from './format.ts'
import { FrameReader } from './frames.ts'
import { type NoteKey, openCheckpoint } from './note.ts'
import { Tiles } from './tiles.ts'

export interface Recovered {
  readonly tiles: Tiles
  /** The size of the last checkpoint. */
  readonly signed: number
  /** Of the next segment. */
  readonly serial: number
  readonly number: number
  readonly block: Block
  /** Numbers of intents without an outcome, the oldest first. */
  readonly open: readonly number[]
}

/** Far above the longest time that an answer is waited for: an intent that is older than that at the end of the log is settled. */
const openMsMax = 600_000

/** The segments of a folder in the order in which they were begun. */
export function segmentsOf(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => serialOf(name) !== undefined)
    .sort((a, b) => serialOf(a)! - serialOf(b)!)
    .map((name) => join(directory, name))
}

/** What the first frame of a segment says; undefined where it is none. */
export function headOf(bytes: Buffer): SegmentHead | undefined {
  const reader = new FrameReader(bytes)
  return reader.next() && reader.kind === frameKind.head ? headIn(reader.rest()) : undefined
}

/** Undefined for what is no JSON. */
export function headIn(json: Buffer): SegmentHead | undefined {
  try {
    return JSON.parse(json.toString('utf8')) as SegmentHead
  } catch {
    return undefined
  }
}

/** @throws RingfenceError UNAVAILABLE where what is there cannot be gone on with */
export function recover(directory: string, key: NoteKey): Recovered {
  const paths = segmentsOf(directory)
  const { tiles, signed } = treeOf(directory, key, paths.length > 0)
  const scan = new Scan(tiles)
  for (const bytes of lastSegments(paths, tiles.size)) scan.segment(bytes)
  const last = paths.at(-1)
  const serial = last === undefined ? 0 : serialOf(last.slice(directory.length + 1))! + 1
  return { tiles, signed, serial, number: scan.number, block: scan.block, open: [...scan.open].sort((a, b) => a - b) }
}

/** By the checkpoint that is there; an empty one where it is gone or its tiles are not whole, which the segments then make again. */
function treeOf(directory: string, key: NoteKey, isBegun: boolean): { tiles: Tiles; signed: number } {
  const tiles = new Tiles(directory)
  const note = readIfThere(join(directory, 'checkpoint'))
  if (note === undefined || !isBegun) return { tiles, signed: 0 }
  const checkpoint = openCheckpoint(note, key)
  try {
    if (checkpoint === undefined) throw new Error('the checkpoint is not signed by the key of the log')
    tiles.restore(checkpoint.size, checkpoint.root)
    return { tiles, signed: checkpoint.size }
  } catch {
    return { tiles: new Tiles(directory), signed: 0 }
  }
}

/** Those that have what the tree does not, and what may be open, the oldest first. */
function lastSegments(paths: readonly string[], blocks: number): Buffer[] {
  const found: Buffer[] = []
  let newestMs: number | undefined
  for (const path of [...paths].reverse()) {
    const bytes = readFileSync(path)
    const head = headOf(bytes)
    // Nothing but a beginning that was torn.
    if (head === undefined) continue
    found.unshift(bytes)
    const startMs = firstMs(bytes)
    newestMs ??= startMs
    if (head.blocks <= blocks && newestMs - startMs > openMsMax) return found
  }
  const first = found[0] === undefined ? undefined : headOf(found[0])
  if (first !== undefined && first.blocks > blocks) {
    throw new RingfenceError(
      'UNAVAILABLE',
      'the record cannot be gone on with: its tiles and its first segments are gone',
      {
        hint: 'move the folder of the audit aside: another log begins then, with a key of its own',
      },
    )
  }
  return found
}

function firstMs(bytes: Buffer): number {
  const reader = new FrameReader(bytes)
  while (reader.next()) if (reader.kind === frameKind.time) return reader.milliseconds()
  return 0
}

class Scan {
  readonly open = new Set<number>()
  block = new Block(0)
  number = 0
  #ms = 0
  /** Where what is not sealed begins in the segment. */
  #from = 0
  readonly #tiles: Tiles
  #isFirst = true

  constructor(tiles: Tiles) {
    this.#tiles = tiles
  }

  segment(bytes: Buffer): void {
    this.#from = 0
    const reader = new FrameReader(bytes)
    while (reader.next()) this.#frame(reader)
    this.block.carry(bytes.subarray(this.#from, reader.end))
  }

  #frame(reader: FrameReader): void {
    const { kind } = reader
    if (kind === frameKind.seal) {
      this.#seal(reader.rest())
      this.#from = reader.end
      return
    }
    if (kind === frameKind.head) this.#head(headIn(reader.rest()))
    if (isNumbered(kind)) this.number++
    const { block } = this
    block.frames++
    if (kind === frameKind.checkpoint) block.idle++
    else if (kind === frameKind.time) {
      this.#ms = reader.milliseconds()
      block.firstMs ||= this.#ms
      block.lastMs = this.#ms
    } else if (kind === frameKind.intent) this.open.add(this.number)
    else if (kind === frameKind.outcome) {
      reader.byte()
      this.open.delete(this.number - reader.number())
    } else if (kind === frameKind.unknown) this.open.delete(reader.number())
    else if (kind === frameKind.event) this.number = seqOf(reader.rest()) ?? this.number
  }

  #head(head: SegmentHead | undefined): void {
    if (head === undefined || !this.#isFirst) return
    this.#isFirst = false
    this.number = head.number
    this.block = new Block(head.number)
  }

  #seal(payload: Buffer): void {
    const index = Number(payload.readBigUInt64BE(0))
    if (index === this.#tiles.size) this.#tiles.add(Buffer.from(payload.subarray(8)))
    this.block = new Block(this.number)
    // Each block that has records says when they were made.
    this.block.firstMs = this.#ms
    this.block.lastMs = this.#ms
  }
}

/** Of an event that says its own number, where numbers before it were lost. */
export function seqOf(json: Buffer): number | undefined {
  try {
    const { seq } = JSON.parse(json.toString('utf8')) as { seq?: unknown }
    return typeof seq === 'number' ? seq : undefined
  } catch {
    return undefined
  }
}
