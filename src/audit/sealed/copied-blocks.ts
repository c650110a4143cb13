/**
 * Frames of a log that somebody sent, checked: each block is what its seal says, and each segment is of the sidecar that it came from.
 *
 * Rule: checking changes nothing that is kept. What comes of it is given back, and its caller takes it over or leaves it.
 */
import { createHash, type Hash } from 'node:crypto'
import { RingfenceError } from '../../base/errors.ts'
import { segmentPattern } from './files.ts'
import { decodeHeader, formatName, frameKind } from './format.ts'
import { FrameReader } from './frames.ts'
import { headIn } from './head.ts'
import { type NoteKey, openCheckpoint } from './note.ts'
import { type Edge, leafHash } from './tree.ts'

/** Who may send it, and nobody else. */
export interface LogOwner {
  readonly key: NoteKey
  /** The name of the sidecar in its record. */
  readonly proxy: string
}

/** Frames of one segment. */
export interface SegmentPart {
  readonly segment: string
  /** Where they begin in it. */
  readonly bytes: number
  readonly frames: Buffer
}

/** Far above what a writer seals at once: what it kept while it could not write, and a buffer. */
const blockBytesMax = 32 * 1024 * 1024

/** A block that has no seal yet. */
export class OpenBlock {
  frames = 0
  bytes = 0
  #hash: Hash = createHash('sha256')

  copy(): OpenBlock {
    const copy = new OpenBlock()
    copy.frames = this.frames
    copy.bytes = this.bytes
    copy.#hash = this.#hash.copy()
    return copy
  }

  add(frames: Buffer, count: number): void {
    this.#hash.update(frames)
    this.bytes += frames.length
    this.frames += count
  }

  hash(): Buffer {
    return this.#hash.copy().digest()
  }
}

export interface CheckedPart {
  /** What stands behind the last seal, with what was open before where there is none. */
  readonly open: OpenBlock
  /** Of the blocks that are sealed in it. */
  readonly leaves: readonly Buffer[]
  /** Behind the last seal in these frames; 0 where there is none. */
  readonly sealedEnd: number
  /** The last checkpoint in it, of the blocks before. */
  readonly note: { readonly text: string; readonly size: number } | undefined
}

/**
 * @param edge of the blocks before; the new ones are added to it
 * @throws RingfenceError UNAVAILABLE for what is not what was sealed, or not of this owner
 */
export function checkPart(part: SegmentPart, before: OpenBlock, edge: Edge, owner: LogOwner): CheckedPart {
  const { segment, frames } = part
  let open = before.copy()
  const leaves: Buffer[] = []
  let [sealedEnd, from, count] = [0, 0, 0]
  let note: CheckedPart['note']
  const reader = new FrameReader(frames)
  const carry = (to: number): void => {
    open.add(frames.subarray(from, to), count)
    if (open.bytes > blockBytesMax) throw differs(segment, 'has a block that is longer than any')
  }
  while (reader.next()) {
    const isFirst = reader.start === 0 && part.bytes === 0
    if (isFirst !== (reader.kind === frameKind.head)) throw differs(segment, isFirst ? 'has no head' : 'has two heads')
    if (isFirst) checkHead(segment, reader.rest(), edge.size, owner)
    if (reader.kind !== frameKind.seal) {
      count++
      if (reader.kind === frameKind.checkpoint) note = checkpointIn(reader.rest(), { segment, edge, owner }) ?? note
      continue
    }
    carry(reader.start)
    const header = sealedHeader(reader.rest(), open, { segment, block: edge.size })
    leaves.push(header)
    edge.add(leafHash(header))
    open = new OpenBlock()
    sealedEnd = reader.end
    ;[from, count] = [reader.end, 0]
  }
  carry(reader.end)
  if (reader.end !== frames.length) throw differs(segment, 'has bytes that are no frame')
  return { open, leaves, sealedEnd, note }
}

/** A name says whose a segment is, and so does its head: both are of who sent it. */
function checkHead(segment: string, json: Buffer, blocks: number, { key, proxy }: LogOwner): void {
  const head = headIn(json)
  if (head?.key !== key.text || head.origin !== key.name) throw differs(segment, 'is of another log')
  if (head.format !== formatName) throw differs(segment, 'is of another format')
  if (head.proxy !== proxy)
    throw differs(segment, `says that it is of another sidecar than “${proxy}”, as which this one enrolled`)
  if (!segmentPattern(proxy).test(segment)) throw differs(segment, `has no name of a segment of “${proxy}”`)
  if (head.blocks > blocks)
    throw differs(segment, `begins with block ${head.blocks}, and blocks ${blocks} to ${head.blocks - 1} are not here`)
}

/** The leaf of a block. */
function sealedHeader(seal: Buffer, open: OpenBlock, { segment, block }: { segment: string; block: number }): Buffer {
  const index = seal.length < 8 ? -1 : Number(seal.readBigUInt64BE(0))
  if (index !== block) throw differs(segment, `has block ${index} where block ${block} should stand`)
  const header = Buffer.from(seal.subarray(8))
  const said = decodeHeader(header)
  const isSame = said?.frames === open.frames && said.bytes === open.bytes && said.hash.equals(open.hash())
  if (!isSame) throw differs(segment, `has a block ${index} that is not what was sealed`)
  return header
}

function checkpointIn(
  payload: Buffer,
  { segment, edge, owner }: { segment: string; edge: Edge; owner: LogOwner },
): CheckedPart['note'] {
  const text = payload.toString('utf8')
  const checkpoint = openCheckpoint(text, owner.key)
  if (checkpoint === undefined || checkpoint.size > edge.size)
    throw differs(segment, 'has a checkpoint that nobody signed for it')
  if (checkpoint.size !== edge.size) return undefined
  if (!checkpoint.root.equals(edge.root()))
    throw differs(segment, `has a checkpoint of other blocks than the first ${edge.size}`)
  return { text, size: checkpoint.size }
}

export function differs(name: string, how: string): RingfenceError {
  return new RingfenceError('UNAVAILABLE', `${name} ${how}`)
}
