/**
 * Whether a log is what was signed: its segments are read from the first frame to the last, each block is hashed, and the tree of all blocks
 * is compared with every checkpoint that is there, in the log and outside of it.
 *
 * Rule: what is found says where it is, as closely as can be known. What cannot be told from what is here (that all of it was put back to
 * an older state) is found by a checkpoint from elsewhere, which the caller gives.
 */
import { createHash, type Hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { readIfThere } from '../../mesh/files.ts'
import { type Certified, certifies } from './certified.ts'
import { decodeHeader, frameKind, frameLengthBytes, type SegmentHead } from './format.ts'
import { frameEnd } from './frames.ts'
import { eventIn, headOf, seqOf } from './head.ts'
import { type Checkpoint, type NoteKey, openCheckpoint, parseNoteKey } from './note.ts'
import { segmentsOf } from './recover.ts'
import { Tiles } from './tiles.ts'
import { Edge, leafHash } from './tree.ts'
import { Unsigned, unsignedMsMax } from './unsigned.ts'

export interface VerifyOptions {
  /** Of the log, from elsewhere; by default the one that the log names. */
  readonly key?: NoteKey | undefined
  /** Checkpoints of it from elsewhere: a witness's, or those that somebody kept. */
  readonly known?: readonly string[]
  /** Roots, by which the key of the log has to be certified for its sidecar. */
  readonly bundlePem?: string | undefined
}

export interface Verified {
  readonly origin: string
  readonly key: string
  readonly segments: number
  readonly blocks: number
  readonly records: number
  /** At the end, not sealed yet. */
  readonly unsealed: number
  /** Blocks that the last checkpoint vouches for. */
  readonly signed: number
  readonly lastMs: number
  /** Whose the key is, where that was asked. */
  readonly certified: Certified | undefined
  /** What was tampered with, and where. */
  readonly findings: readonly string[]
  /** What is worth knowing, and may be as it should. */
  readonly notes: readonly string[]
}

/** @throws Error where the folder or a file of it cannot be read */
export function verifyLog(directory: string, options: VerifyOptions = {}): Verified {
  const before = readIfThere(join(directory, 'checkpoint'))
  const verified = new Verification(directory, options, before).run()
  if (verified.findings.length === 0) return verified
  // A log that is written on while it is read: what was found may be gone.
  const after = readIfThere(join(directory, 'checkpoint'))
  return after === before ? verified : new Verification(directory, options, after).run()
}

const tileWidth = 256

interface Known {
  readonly checkpoint: Checkpoint
  readonly name: string
  /** The file `checkpoint` of the log itself. */
  readonly isLast: boolean
}

class Verification {
  readonly #directory: string
  readonly #options: VerifyOptions
  readonly #findings: string[] = []
  readonly #notes: string[] = []
  readonly #edge = new Edge()
  readonly #tiles: Tiles
  #tile: readonly Buffer[] = []
  #tileNumber = -1
  #key: NoteKey | undefined
  /** From elsewhere, the smallest first. */
  #known: Known[] = []
  #signedSize = 0
  /** The file `checkpoint`, read before the segments: they have all that it was signed for. */
  readonly #note: string | undefined
  readonly #unsigned = new Unsigned()
  /** What the first block that is sealed here may have begun in is not here. */
  #mayBeCutOff = false
  #certified: Certified | undefined
  // The block that is being read.
  #frames = 0
  #blockNumbered = 0
  #numberBefore = 0
  #hash: Hash | undefined
  #ms = 0
  #number = 0
  #records = 0

  constructor(directory: string, options: VerifyOptions, note: string | undefined) {
    this.#directory = directory
    this.#options = options
    this.#note = note
    this.#tiles = new Tiles(directory)
    this.#key = options.key
  }

  run(): Verified {
    const paths = segmentsOf(this.#directory)
    let segments = 0
    for (const path of paths) {
      const bytes = readFileSync(path)
      const name = basename(path)
      const head = headOf(bytes)
      if (head === undefined) {
        // A process that is killed may leave a part of its first frame.
        if (frameEnd(bytes, 0) > 0) this.#findings.push(`${name} does not begin as a segment does`)
        else this.#notes.push(`${name} has no beginning: nothing was written to it`)
        continue
      }
      if (!this.#isOurs(head, name)) continue
      if (segments === 0) this.#begin(head, name)
      else if (head.blocks !== this.#edge.size && head.number !== this.#number)
        this.#findings.push(`${name} begins behind block ${head.blocks}, and ${this.#edge.size} stand before it`)
      segments++
      this.#segment(bytes, name)
    }
    if (segments === 0) this.#findings.push('there is no segment')
    this.#end()
    const { size } = this.#edge
    return {
      origin: this.#key?.name ?? '',
      key: this.#key?.text ?? '',
      segments,
      blocks: size,
      records: this.#records + this.#blockNumbered,
      unsealed: this.#blockNumbered,
      signed: this.#signedSize,
      lastMs: this.#ms,
      certified: this.#certified,
      findings: this.#findings,
      notes: this.#notes,
    }
  }

  #isOurs(head: SegmentHead, name: string): boolean {
    if (this.#key === undefined) {
      try {
        this.#key = parseNoteKey(head.key)
      } catch {
        this.#findings.push(`${name} names no key of a log`)
        return false
      }
    }
    if (head.key === this.#key.text) return true
    this.#findings.push(`${name} is a segment of another log, ${JSON.stringify(head.origin)}`)
    return false
  }

  /** The first segment that is there. Those before it may have been removed; their leaves are in the tiles. */
  #begin(head: SegmentHead, name: string): void {
    this.#number = head.number
    this.#numberBefore = head.number
    this.#mayBeCutOff = head.number > 0
    this.#openKnown()
    for (let at = 0; at < head.blocks; at++) {
      const hash = this.#tileHash(at)
      if (hash === undefined) {
        this.#findings.push(`the ${head.blocks} blocks before ${name} are not here, and neither are their hashes`)
        return
      }
      this.#add(hash)
    }
    if (head.blocks > 0) this.#notes.push(`records 1 to ${head.number} (${head.blocks} blocks) are not here any more`)
  }

  #openKnown(): void {
    const opened: Known[] = []
    for (const [at, note] of (this.#options.known ?? []).entries()) {
      const checkpoint = this.#key && openCheckpoint(note, this.#key)
      const name = `the known checkpoint${at === 0 ? '' : ` ${at + 1}`}`
      if (checkpoint === undefined) this.#findings.push(`${name} is not signed by the key of this log`)
      else opened.push({ checkpoint, name, isLast: false })
    }
    const last = this.#note !== undefined && this.#key && openCheckpoint(this.#note, this.#key)
    if (last) opened.push({ checkpoint: last, name: 'the last checkpoint', isLast: true })
    else if (this.#note !== undefined) this.#findings.push('the last checkpoint is not signed by the key of this log')
    this.#known = opened.sort((a, b) => a.checkpoint.size - b.checkpoint.size)
    this.#compareKnown()
  }

  #segment(bytes: Buffer, name: string): void {
    let from = 0
    let at = 0
    const { length } = bytes
    while (at + frameLengthBytes < length) {
      const end = at + frameLengthBytes + ((bytes[at]! << 8) | bytes[at + 1]!)
      if (end > length || end === at + frameLengthBytes) break
      const kind = bytes[at + 2]!
      if (kind === frameKind.seal) {
        this.#seal(bytes.subarray(from, at), bytes.subarray(at + 3, end), name)
        from = end
      } else {
        this.#frames++
        if (kind === frameKind.intent || kind === frameKind.whole) this.#blockNumbered++
        else if (kind === frameKind.time) this.#time(bytes.subarray(at + 3, end))
        else if (kind === frameKind.event) this.#event(bytes.subarray(at + 3, end))
        else if (kind === frameKind.checkpoint) this.#checkpoint(bytes.toString('utf8', at + 3, end), name)
      }
      at = end
    }
    if (at > from) {
      this.#hash ??= createHash('sha256')
      this.#hash.update(bytes.subarray(from, at))
    }
    if (at < length) this.#notes.push(`${length - at} bytes at the end of ${name} are no frame, and count for nothing`)
  }

  #time(payload: Buffer): void {
    if (payload.length < 6) return
    this.#ms = payload.readUIntBE(0, 6)
    this.#unsigned.time(this.#ms)
  }

  #event(json: Buffer): void {
    this.#blockNumbered++
    const event = eventIn(json)
    const seq = seqOf(event)
    if (seq !== undefined) this.#blockNumbered = seq - this.#numberBefore
    if (event?.event === 'started' && event.rebuilt === true)
      this.#notes.push(
        `at record ${this.#numberBefore + this.#blockNumbered} a start signed what lay there, and no checkpoint vouched for`,
      )
    const { bundlePem } = this.#options
    if (bundlePem !== undefined && this.#key !== undefined && this.#certified === undefined)
      this.#certified = certifies(json, this.#key, bundlePem, this.#ms)
  }

  #seal(content: Buffer, payload: Buffer, name: string): void {
    const header = payload.subarray(8)
    const said = decodeHeader(header)
    const index = payload.length < 8 ? -1 : Number(payload.readBigUInt64BE(0))
    const { size } = this.#edge
    const where = `block ${index} in ${name}`
    if (said === undefined) {
      this.#findings.push(`a block in ${name}, behind block ${size - 1}, has no header`)
      this.#nextBlock(this.#number + this.#blockNumbered)
      return
    }
    const records = `records ${said.numberBefore + 1} to ${said.numberLast}`
    const hash = (this.#hash ?? createHash('sha256')).update(content).digest()
    const counted = this.#number + this.#blockNumbered
    if (index > size) this.#findings.push(`blocks ${size} to ${index - 1} are missing before ${where}`)
    else if (index < size) this.#findings.push(`${where} stands there once more, or out of order`)
    if (this.#mayBeCutOff && !hash.equals(said.hash) && said.frames > this.#frames && this.#isInTree(index, header)) {
      this.#notes.push(`${where} began in a segment that is not here: ${records} are as logged or not, nobody can tell`)
    } else if (!hash.equals(said.hash)) {
      const than = said.frames - this.#frames
      const how =
        than > 0 ? `${than} frames are missing` : than < 0 ? `${-than} frames were added` : 'something was changed'
      this.#findings.push(`${where} is not what was sealed: ${how} (${records}, ${timesOf(said.firstMs, said.lastMs)})`)
    } else if (
      said.frames !== this.#frames ||
      said.numberLast !== counted ||
      said.numberBefore !== this.#numberBefore
    ) {
      // A hash that fits and a header that does not: the header was made by somebody else.
      if (index === size) this.#findings.push(`${where} says of itself what is not so (${records})`)
    }
    this.#unsigned.sealed()
    this.#logged(index, header, where)
    this.#records += Math.max(0, said.numberLast - said.numberBefore)
    this.#nextBlock(said.numberLast)
  }

  /** The leaf goes into the tree where it says that it stands. */
  #logged(index: number, header: Buffer, where: string): void {
    const leaf = leafHash(header)
    const tile = this.#tileHash(index)
    if (tile !== undefined && !tile.equals(leaf)) this.#findings.push(`${where} is not the one that the tree has`)
    if (index < this.#edge.size) return
    // What is missing is there as a hash at least, so that what comes after can be looked at.
    while (this.#edge.size < index) {
      const hash = this.#tileHash(this.#edge.size)
      if (hash === undefined) break
      this.#add(hash)
    }
    this.#add(leaf)
  }

  #add(hash: Buffer): void {
    this.#edge.add(hash)
    if (this.#known.length > 0) this.#compareKnown()
  }

  #isInTree(index: number, header: Buffer): boolean {
    return index === this.#edge.size && this.#tileHash(index)?.equals(leafHash(header)) === true
  }

  #nextBlock(number: number): void {
    this.#mayBeCutOff = false
    this.#number = number
    this.#numberBefore = number
    this.#blockNumbered = 0
    this.#frames = 0
    this.#hash = undefined
  }

  #tileHash(index: number): Buffer | undefined {
    const number = Math.floor(index / tileWidth)
    if (number !== this.#tileNumber) {
      this.#tileNumber = number
      this.#tile = this.#readTile(number)
    }
    return this.#tile[index % tileWidth]
  }

  #readTile(number: number): readonly Buffer[] {
    // The part of a tile that stands for one checkpoint goes when the next one is there.
    for (let attempt = 0; attempt < 3; attempt++) {
      const size = this.#tiledSize() - number * tileWidth
      if (size <= 0) return []
      try {
        return this.#tiles.hashes(0, number, Math.min(size, tileWidth))
      } catch {
        // Gone, or never there: the checkpoint of now tells.
      }
    }
    return []
  }

  /** Of the checkpoint that lies beside the tiles now. */
  #tiledSize(): number {
    const note = readIfThere(join(this.#directory, 'checkpoint'))
    return (note !== undefined && this.#key !== undefined && openCheckpoint(note, this.#key)?.size) || 0
  }

  /** One that the log itself holds. */
  #checkpoint(note: string, name: string): void {
    const checkpoint = this.#key && openCheckpoint(note, this.#key)
    const where = `a checkpoint in ${name}, behind block ${this.#edge.size - 1},`
    if (checkpoint === undefined) this.#findings.push(`${where} is not signed by the key of this log`)
    else if (checkpoint.size !== this.#edge.size)
      this.#findings.push(`${where} is of ${checkpoint.size} blocks, and ${this.#edge.size} stand before it`)
    else if (!checkpoint.root.equals(this.#edge.root()))
      this.#findings.push(`${where} was signed for other blocks than stand before it`)
    else this.#isSigned(checkpoint.size)
  }

  /** All blocks so far are. */
  #isSigned(size: number): void {
    this.#signedSize = Math.max(this.#signedSize, size)
    this.#unsigned.signed()
  }

  #compareKnown(): void {
    for (
      let [first] = this.#known;
      first !== undefined && first.checkpoint.size <= this.#edge.size;
      [first] = this.#known
    ) {
      this.#known.shift()
      const { checkpoint, name, isLast } = first
      const isOurs = checkpoint.size === this.#edge.size && checkpoint.root.equals(this.#edge.root())
      if (isOurs && isLast) this.#isSigned(checkpoint.size)
      else if (!isOurs && isLast) this.#findings.push(`${name} was signed for other blocks than these`)
      else if (!isOurs)
        this.#findings.push(`${name} of ${checkpoint.size} blocks was signed for others than these: the log was forked`)
    }
  }

  #end(): void {
    const { size } = this.#edge
    for (const { checkpoint, name, isLast } of this.#known) {
      if (isLast) this.#findings.push(`blocks ${size} to ${checkpoint.size - 1} are missing at the end`)
      else this.#findings.push(`${name} is of ${checkpoint.size} blocks, and ${size} are here: the log was rolled back`)
    }
    if (this.#options.bundlePem !== undefined && this.#certified === undefined)
      this.#findings.push(
        `no sidecar’s certificate of these roots says that the key is that of ${this.#key?.name ?? 'a log'}`,
      )
    // One that was killed in its first second has none.
    if (this.#note === undefined && this.#signedSize > 0) this.#findings.push('there is no checkpoint')
    const unsigned = size - this.#signedSize
    const { ms, sinceMs } = this.#unsigned
    if (ms > unsignedMsMax)
      this.#findings.push(`what came since ${timeOf(sinceMs)}, in ${Math.round(ms / 1000)} s, is not signed`)
    else if (unsigned > 0) this.#notes.push(`the last ${unsigned} blocks are not signed yet`)
  }
}

function timesOf(firstMs: number, lastMs: number): string {
  return `${timeOf(firstMs)} to ${timeOf(lastMs)}`
}

function timeOf(ms: number): string {
  return Number.isFinite(ms) && Math.abs(ms) < 8.64e15 ? new Date(ms).toISOString() : '?'
}
