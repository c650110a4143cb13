/**
 * Where a log stands, read from its files at a start: its tree, its last number, what was not sealed, and the intents of which nobody knows
 * what became of them.
 */
import { closeSync, fdatasyncSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import { basename, join } from 'node:path'
import { readIfThere } from '../../mesh/files.ts'
import type { Block } from './block.ts'
import { serialOf } from './files.ts'
import { frameBytesMax, frameKind, type SegmentHead } from './format.ts'
import { FrameReader } from './frames.ts'
import { headOf } from './head.ts'
import { type NoteKey, openCheckpoint } from './note.ts'
import { cannotGoOn, Scan } from './scan.ts'
import { Tiles } from './tiles.ts'
import { unsignedMsMax } from './unsigned.ts'

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
  /** What nothing vouches for is more than a process that is killed leaves: this start signs it nevertheless, and says so. */
  readonly isRebuilt: boolean
}

/** Far above the longest time that an answer is waited for: an intent that is older than that at the end of the log is settled. */
export const openMsMax = 600_000

/** The segments of a folder in the order in which they were begun. */
export function segmentsOf(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => serialOf(name) !== undefined)
    .sort((a, b) => serialOf(a)! - serialOf(b)!)
    .map((name) => join(directory, name))
}

/** What is there, read up to its end: the block at its end may be open. */
interface Begun {
  readonly scan: Scan
  readonly tiles: Tiles
  /** The size of the last checkpoint. */
  readonly signed: number
  readonly paths: readonly string[]
}

/** @throws RingfenceError UNAVAILABLE where what is there cannot be gone on with */
function beginScan(directory: string, key: NoteKey): Begun {
  const paths = segmentsOf(directory)
  const { tiles, signed } = treeOf(directory, key, paths.length > 0)
  const scan = new Scan(tiles, key)
  for (const path of lastSegments(paths, tiles.size)) {
    scan.segment(readFileSync(path), basename(path))
    // What a process wrote that was killed may be in memory only; it is signed now.
    flushFile(path)
  }
  return { scan, tiles, signed, paths }
}

/** @throws RingfenceError UNAVAILABLE where what is there cannot be gone on with */
export function recover(directory: string, key: NoteKey): Recovered {
  const { scan, tiles, signed, paths } = beginScan(directory, key)
  const last = paths.at(-1)
  const serial = last === undefined ? 0 : serialOf(last.slice(directory.length + 1))! + 1
  const { number, block } = scan
  const isRebuilt = scan.unsigned.ms > unsignedMsMax
  return { tiles, signed, serial, number, block, open: [...scan.open].sort((a, b) => a - b), isRebuilt }
}

/** By the checkpoint that is there; an empty one where it is gone or its tiles are not whole, which the segments then make again. */
export function treeOf(directory: string, key: NoteKey, isBegun: boolean): { tiles: Tiles; signed: number } {
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
function lastSegments(paths: readonly string[], blocks: number): string[] {
  const found: string[] = []
  let newestMs: number | undefined
  let first: SegmentHead | undefined
  for (const path of [...paths].reverse()) {
    const { head, ms: startMs } = startOfSegment(path)
    // Nothing but a beginning that was torn.
    if (head === undefined) continue
    first = head
    found.unshift(path)
    newestMs ??= startMs
    // The block that it begins with may have begun in the segment before.
    if (newestMs !== undefined && startMs !== undefined && head.blocks < blocks && newestMs - startMs > openMsMax)
      return found
  }
  if (first !== undefined && first.blocks > blocks) throw cannotGoOn('its tiles and its first segments are gone')
  return found
}

export interface SegmentStart {
  /** Undefined where nothing but a torn beginning is there. */
  readonly head: SegmentHead | undefined
  /** The first time in it; undefined where nothing says it. */
  readonly ms: number | undefined
}

export function startOfSegment(path: string): SegmentStart {
  const bytes = beginningOf(path)
  return { head: headOf(bytes), ms: firstMs(bytes) }
}

/** Its first frames: the head, and a time. */
function beginningOf(path: string): Buffer {
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(4 * frameBytesMax)
    return bytes.subarray(0, readSync(file, bytes))
  } finally {
    closeSync(file)
  }
}

/** Undefined where nothing says it: a process was killed at once, or could write no more. */
function firstMs(bytes: Buffer): number | undefined {
  const reader = new FrameReader(bytes)
  while (reader.next()) if (reader.kind === frameKind.time) return reader.milliseconds()
  return undefined
}

function flushFile(path: string): void {
  const file = openSync(path, 'r+')
  try {
    fdatasyncSync(file)
  } finally {
    closeSync(file)
  }
}
