/**
 * The sealed blocks that one record stands in: that of its number, and that of what became of it, which may be a later one.
 *
 * Rule: nothing is believed of what is read. That the blocks were signed, and by whose key, is for a proof to say.
 */
import { readFileSync } from 'node:fs'
import { type BlockHeader, decodeHeader, frameKind, type SegmentHead } from './format.ts'
import { FrameReader, frameEnd, kindAt } from './frames.ts'
import { eventIn, headIn, seqOf } from './head.ts'
import { SealedLines } from './lines.ts'

export interface SealedBlock {
  readonly index: number
  readonly header: Buffer
  readonly said: BlockHeader
  readonly frames: Buffer
  /** Of the log. */
  readonly key: string
  /** The segment that it begins in. */
  readonly path: string
}

export interface BlocksOfRecord {
  readonly number: number
  readonly begun: SealedBlock
  /** The same one, where that says it; undefined where no sealed block does. */
  readonly ended: SealedBlock | undefined
}

/** Of one log, in their order. */
export interface SegmentOfLog {
  readonly path: string
  /** So many of its first bytes count; all without it. */
  readonly bytes?: number
  readonly head: SegmentHead | undefined
}

/** Undefined where no sealed block has this number. */
export function blocksOf(segments: readonly SegmentOfLog[], number: number): BlocksOfRecord | undefined {
  let begun: SealedBlock | undefined
  for (const block of sealedBlocks(segments.slice(firstOf(segments, number)))) {
    const { said } = block
    if (begun === undefined && said.numberBefore < number && number <= said.numberLast) begun = block
    if (begun !== undefined && hasEnd(block, number)) return { number, begun, ended: block }
  }
  return begun && { number, begun, ended: undefined }
}

/** What these blocks say of the record, as a line of it has that; undefined where they say nothing. */
export function toldBy({ number, begun, ended }: BlocksOfRecord): { readonly [field: string]: unknown } | undefined {
  let told: string | undefined
  const sealed = new SealedLines((line) => {
    if (/^\{"time":"[^"]*","seq":(\d+)/.exec(line)?.[1] === String(number)) told = line
  })
  for (const { frames, said } of ended === undefined || ended === begun ? [begun] : [begun, ended])
    sealed.block(frames, said.numberBefore)
  sealed.end()
  try {
    return told === undefined ? undefined : (JSON.parse(told) as { readonly [field: string]: unknown })
  } catch {
    // Texts in it are none of ours.
    return undefined
  }
}

/** Where the block may begin that has this number: a seal stands between a segment and one that has more blocks before it. */
function firstOf(segments: readonly SegmentOfLog[], number: number): number {
  const last = segments.findLastIndex(({ head }) => head !== undefined && head.number < number)
  const blocks = segments[last]?.head?.blocks ?? 0
  return Math.max(
    segments.slice(0, Math.max(last, 0)).findLastIndex(({ head }) => head !== undefined && head.blocks < blocks),
    0,
  )
}

function* sealedBlocks(segments: readonly SegmentOfLog[]): Generator<SealedBlock> {
  let pieces: Buffer[] = []
  let begin = ''
  let key = ''
  for (const { path, head, bytes: length } of segments) {
    const bytes = readFileSync(path).subarray(0, length)
    key = head?.key ?? key
    let from = 0
    let at = 0
    for (let end = frameEnd(bytes, 0); end > 0; end = frameEnd(bytes, at)) {
      if (pieces.length === 0) begin = path
      if (kindAt(bytes, at) === frameKind.seal) {
        const header = bytes.subarray(at + 11, end)
        const said = decodeHeader(header)
        const frames =
          pieces.length === 0 ? bytes.subarray(from, at) : Buffer.concat([...pieces, bytes.subarray(from, at)])
        if (said !== undefined)
          yield { index: Number(bytes.readBigUInt64BE(at + 3)), header, said, frames, key, path: begin }
        pieces = []
        from = end
      }
      at = end
    }
    if (at > from) pieces.push(bytes.subarray(from, at))
  }
}

/** Whether it says what became of the record; where nothing leaves, one frame says both. */
function hasEnd({ frames, said }: SealedBlock, wanted: number): boolean {
  const reader = new FrameReader(frames)
  let number = said.numberBefore
  while (reader.next()) {
    if (reader.kind === frameKind.head) number = headIn(reader.rest())?.number ?? number
    else if (reader.kind === frameKind.intent) number++
    else if (reader.kind === frameKind.whole && ++number === wanted) return true
    else if (reader.kind === frameKind.unknown && reader.number() === wanted) return true
    else if (reader.kind === frameKind.outcome) {
      reader.byte()
      if (number - reader.number() === wanted) return true
    } else if (reader.kind === frameKind.event) {
      number = seqOf(eventIn(reader.rest())) ?? number + 1
      if (number === wanted) return true
    }
  }
  return false
}
