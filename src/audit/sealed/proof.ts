/**
 * The proof that one record is in the log, as a file that needs neither the log nor us (c2sp.org/tlog-proof): the block that has the record,
 * and how the block's header leads to a signed checkpoint. What became of a request may stand in a later block, which then has a proof of its own.
 *
 * Rule: nothing is called proven that the frames beside the proof do not say themselves.
 */
import { join } from 'node:path'
import { RingfenceError } from '../../base/errors.ts'
import { readIfThere } from '../../mesh/files.ts'
import { type BlocksOfRecord, blocksOf, type SealedBlock } from './blocks-of-record.ts'
import type { BlockHeader } from './format.ts'
import { HashTree } from './hash-tree.ts'
import { openCheckpoint, parseNoteKey } from './note.ts'
import { segmentsOf, startOfSegment } from './recover.ts'
import { Tiles } from './tiles.ts'
import { leafHash, rootByProof, sha256 } from './tree.ts'

export interface BlockProof {
  /** Of the block. */
  readonly index: number
  /** The text of a `.tlog-proof`; its extra line is the block's header. */
  readonly text: string
  /** The frames of the block: their SHA-256 stands in the header. */
  readonly frames: Buffer
  readonly header: BlockHeader
  /** The name of the log. */
  readonly origin: string
  /** How many blocks the checkpoint is of that the proof leads to. */
  readonly size: number
  /** The control plane signed that one, too. */
  readonly isWitnessed: boolean
}

export interface RecordProof extends BlockProof {
  /** What became of it: this block says it, another one does, or why it is not proven. */
  readonly outcome: 'here' | BlockProof | RingfenceError
}

/** @throws RingfenceError INVALID where the record is not in this folder, or in no block that a checkpoint vouches for */
export function proofOf(directory: string, number: number): RecordProof {
  const segments = segmentsOf(directory).map((path) => ({ path, head: startOfSegment(path).head }))
  const blocks = blocksOf(segments, number)
  if (blocks === undefined) throw notThere(`record ${number} is in no sealed block of ${directory}`)
  return proofOfBlocks(blocks, [directory])
}

/**
 * @param directories the log and copies of it: the first will do that has what it takes
 * @throws RingfenceError INVALID where no checkpoint vouches for the record
 */
export function proofOfBlocks({ begun, ended }: BlocksOfRecord, directories: readonly string[]): RecordProof {
  return { ...proofIn(directories, begun), outcome: outcomeOf() }

  function outcomeOf(): RecordProof['outcome'] {
    if (ended === begun) return 'here'
    if (ended === undefined) return notThere('what became of it is in no sealed block')
    try {
      return proofIn(directories, ended)
    } catch (reason) {
      if (reason instanceof RingfenceError) return reason
      throw reason
    }
  }
}

function proofIn(directories: readonly string[], block: SealedBlock): BlockProof {
  if (!sha256(block.frames).equals(block.said.hash))
    throw notThere(
      `block ${block.index} is not what was sealed, or its beginning is gone: audit verify says what is wrong`,
    )
  let why: unknown
  for (const directory of directories) {
    try {
      return proofBySteps(directory, block)
    } catch (reason) {
      why ??= reason
      if (!(reason instanceof RingfenceError || isGone(reason))) throw reason
    }
  }
  throw why
}

function proofBySteps(directory: string, block: SealedBlock): BlockProof {
  for (let attempt = 1; ; attempt++) {
    try {
      return proofBy(directory, block)
    } catch (reason) {
      // The parts of tiles that stand for one checkpoint go when the next one is there.
      if (!isGone(reason) || attempt === 3) throw reason
    }
  }
}

function proofBy(directory: string, { index, header, said, frames, key }: SealedBlock): BlockProof {
  const logKey = parseNoteKey(key)
  const note = readIfThere(join(directory, 'checkpoint')) ?? ''
  const checkpoint = openCheckpoint(note, logKey)
  if (checkpoint === undefined || checkpoint.size <= index)
    throw notThere(`no checkpoint vouches for block ${index} yet`)
  const proof = new HashTree(new Tiles(directory), checkpoint.size).inclusion(index)
  if (rootByProof(leafHash(header), { index, size: checkpoint.size, hashes: proof })?.equals(checkpoint.root) !== true)
    throw notThere(`block ${index} does not lead to the checkpoint: audit verify says what is wrong`)
  const hashes = proof.map((hash) => `${hash.toString('base64')}\n`).join('')
  // With the line of the witness where there is one: the log's own key is in the hands of who has its host.
  const witnessed = readIfThere(join(directory, 'checkpoint.witnessed'))
  const isWitnessed =
    witnessed !== undefined && textOf(witnessed) === textOf(note) && openCheckpoint(witnessed, logKey) !== undefined
  const shown = isWitnessed ? witnessed : note
  const text = `c2sp.org/tlog-proof@v1\nextra ${header.toString('base64')}\nindex ${index}\n${hashes}\n${shown}`
  const { origin, size } = checkpoint
  return { index, text, frames, header: said, origin, size, isWitnessed }
}

/** What is signed of a note. */
function textOf(note: string): string {
  return note.slice(0, note.indexOf('\n\n') + 1)
}

function isGone(reason: unknown): boolean {
  return reason instanceof Error && 'code' in reason && reason.code === 'ENOENT'
}

function notThere(message: string): RingfenceError {
  return new RingfenceError('INVALID', message)
}
