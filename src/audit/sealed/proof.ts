/**
 * The proof that one record is in the log, as a file that needs neither the log nor us (c2sp.org/tlog-proof): the block that has the record,
 * and how the block's header leads to a signed checkpoint.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { RingfenceError } from '../../base/errors.ts'
import { readIfThere } from '../../mesh/files.ts'
import { type BlockHeader, decodeHeader, frameKind } from './format.ts'
import { frameEnd, kindAt } from './frames.ts'
import { HashTree } from './hash-tree.ts'
import { headOf } from './head.ts'
import { openCheckpoint, parseNoteKey } from './note.ts'
import { segmentsOf } from './recover.ts'
import { Tiles } from './tiles.ts'
import { leafHash, rootByProof } from './tree.ts'

export interface RecordProof {
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

interface Block {
  readonly index: number
  readonly header: Buffer
  readonly frames: Buffer
  /** Of the log. */
  readonly key: string
}

/** @throws RingfenceError INVALID where the record is not in this folder, or in no block that a checkpoint vouches for */
export function proofOf(directory: string, number: number): RecordProof {
  const block = blockWith(directory, number)
  if (block === undefined) throw notThere(`record ${number} is in no sealed block of ${directory}`)
  for (let attempt = 1; ; attempt++) {
    try {
      return proofBy(directory, block)
    } catch (reason) {
      // The parts of tiles that stand for one checkpoint go when the next one is there.
      const isGone = reason instanceof Error && 'code' in reason && reason.code === 'ENOENT'
      if (!isGone || attempt === 3) throw reason
    }
  }
}

function proofBy(directory: string, { index, header, frames, key }: Block): RecordProof {
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
  return { index, text, frames, header: decodeHeader(header)!, origin, size, isWitnessed }
}

/** What is signed of a note. */
function textOf(note: string): string {
  return note.slice(0, note.indexOf('\n\n') + 1)
}

function blockWith(directory: string, number: number): Block | undefined {
  let pieces: Buffer[] = []
  let key = ''
  for (const path of segmentsOf(directory)) {
    const bytes = readFileSync(path)
    key = headOf(bytes)?.key ?? key
    let from = 0
    let at = 0
    for (let end = frameEnd(bytes, 0); end > 0; end = frameEnd(bytes, at)) {
      if (kindAt(bytes, at) === frameKind.seal) {
        const header = bytes.subarray(at + 11, end)
        const said = decodeHeader(header)
        if (said !== undefined && said.numberBefore < number && number <= said.numberLast) {
          const index = Number(bytes.readBigUInt64BE(at + 3))
          return { index, header, frames: Buffer.concat([...pieces, bytes.subarray(from, at)]), key }
        }
        pieces = []
        from = end
      }
      at = end
    }
    if (at > from) pieces.push(bytes.subarray(from, at))
  }
  return undefined
}

function notThere(message: string): RingfenceError {
  return new RingfenceError('INVALID', message)
}
