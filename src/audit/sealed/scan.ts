/**
 * Reads segments at a start, in order: what is sealed goes into the tree, and the rest is the block that is gone on with.
 *
 * Rule: nothing goes into the tree that is not what it says it is, for the start signs it. A log that was tampered with is not gone on with.
 */
import { RingfenceError } from '../../base/errors.ts'
import { Block } from './block.ts'
import { decodeHeader, frameKind, isNumbered, type SegmentHead } from './format.ts'
import { FrameReader } from './frames.ts'
import { eventIn, headIn, seqOf } from './head.ts'
import { type NoteKey, openCheckpoint } from './note.ts'
import type { Tiles } from './tiles.ts'
import { Unsigned } from './unsigned.ts'

export class Scan {
  readonly open = new Set<number>()
  block = new Block(0)
  number = 0
  /** What is signed by this start, and was not before. */
  readonly unsigned = new Unsigned()
  /** Where what is not sealed begins in the segment. */
  #from = 0
  #name = ''
  readonly #tiles: Tiles
  readonly #key: NoteKey
  #isFirst = true
  /** Of the block that is read all frames are here. */
  #isWhole = true

  constructor(tiles: Tiles, key: NoteKey) {
    this.#tiles = tiles
    this.#key = key
  }

  /** @throws RingfenceError UNAVAILABLE for one that is not what was written */
  segment(bytes: Buffer, name: string): void {
    this.#from = 0
    this.#name = name
    const reader = new FrameReader(bytes)
    while (reader.next()) this.#frame(reader, bytes)
    this.block.carry(bytes.subarray(this.#from, reader.end))
  }

  #frame(reader: FrameReader, bytes: Buffer): void {
    const { kind } = reader
    if (kind === frameKind.seal) {
      this.block.carry(bytes.subarray(this.#from, reader.start))
      this.#seal(reader.rest())
      this.#from = reader.end
      return
    }
    if (kind === frameKind.head) this.#head(headIn(reader.rest()))
    if (isNumbered(kind)) this.number++
    const { block } = this
    block.frames++
    if (kind === frameKind.checkpoint) {
      block.idle++
      this.#checkpoint(reader.rest().toString('utf8'))
    } else if (kind === frameKind.time) {
      const ms = reader.milliseconds()
      block.at(ms)
      this.unsigned.time(ms)
    } else if (kind === frameKind.intent) this.open.add(this.number)
    else if (kind === frameKind.outcome) {
      reader.byte()
      this.open.delete(this.number - reader.number())
    } else if (kind === frameKind.unknown) this.open.delete(reader.number())
    else if (kind === frameKind.event) this.number = seqOf(eventIn(reader.rest())) ?? this.number
  }

  #head(head: SegmentHead | undefined): void {
    if (head !== undefined && head.key !== this.#key.text) throw this.#differs('is of another log')
    if (head === undefined || !this.#isFirst) return
    this.#isFirst = false
    this.#isWhole = head.number === 0
    this.number = head.number
    this.block = new Block(head.number)
  }

  #seal(payload: Buffer): void {
    const index = payload.length < 8 ? -1 : Number(payload.readBigUInt64BE(0))
    const { size } = this.#tiles
    if (index > size || index < 0) throw this.#differs(`has block ${index} where block ${size} should stand`)
    if (index === size) {
      const header = payload.subarray(8)
      const said = decodeHeader(header)
      const made = decodeHeader(this.block.header(Buffer.alloc(0), this.number))!
      const isSame = said !== undefined && said.frames === made.frames && said.hash.equals(made.hash)
      if (!isSame && (this.#isWhole || said === undefined))
        throw this.#differs(`has a block ${index} that is not what was sealed`)
      this.#tiles.add(Buffer.from(header))
    }
    this.unsigned.sealed()
    if (index < size) this.unsigned.signed()
    this.#isWhole = true
    this.block = new Block(this.number)
  }

  /** Of the blocks right before it. Where the tree has more already its own checkpoint says of which it is. */
  #checkpoint(note: string): void {
    const checkpoint = openCheckpoint(note, this.#key)
    const { size } = this.#tiles
    if (checkpoint === undefined || checkpoint.size > size)
      throw this.#differs('has a checkpoint that nobody signed for it')
    if (checkpoint.size !== size) return
    if (!checkpoint.root.equals(this.#tiles.root()))
      throw this.#differs(`has a checkpoint of other blocks than the first ${size}`)
    this.unsigned.signed()
  }

  #differs(how: string): RingfenceError {
    return cannotGoOn(`${this.#name} ${how}`)
  }
}

export function cannotGoOn(why: string): RingfenceError {
  return new RingfenceError('UNAVAILABLE', `the record cannot be gone on with: ${why}`, {
    hint: 'move the folder of the audit aside: another log begins then, with a key of its own',
  })
}
