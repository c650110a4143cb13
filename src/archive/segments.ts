/**
 * Segments of sealed records: which of them are one log, and their frames.
 *
 * Rule: a line of a sealed record stands where its last frame does, that of its outcome. Its intent may stand in a segment before, so segments
 * are read from where that may be.
 */
import { open } from 'node:fs/promises'
import { basename } from 'node:path'
import { serialOf } from '../audit/sealed/files.ts'
import { frameBytesMax, frameLengthBytes } from '../audit/sealed/format.ts'
import { wholeFrames } from '../audit/sealed/frames.ts'
import { openMsMax, type SegmentStart, startOfSegment } from '../audit/sealed/recover.ts'
import { RingfenceError } from '../base/errors.ts'
import { isSegment, type RecordFile } from './record-file.ts'

export interface Segment extends RecordFile {
  readonly name: string
  readonly serial: number
  readonly start: SegmentStart
}

/** Each log's segments in their order; a log is known by its key. What has no beginning yet has nothing else either. */
export function logsOf(files: readonly RecordFile[]): Segment[][] {
  const logs = new Map<string, Segment[]>()
  for (const file of files.filter(isSegment)) {
    const name = basename(file.path)
    const segment = { ...file, name, serial: serialOf(name)!, start: startOfSegment(file.path) }
    const key = segment.start.head?.key
    if (key === undefined) continue
    const log = logs.get(key) ?? []
    logs.set(key, log)
    log.push(segment)
  }
  return [...logs.values()].map(inOrder)
}

function inOrder(log: Segment[]): Segment[] {
  log.sort((a, b) => a.serial - b.serial)
  for (const [at, segment] of log.entries()) {
    const before = log[at - 1]
    if (before === undefined || before.serial !== segment.serial || before.path === segment.path) continue
    throw new RingfenceError('USAGE', `${before.path} and ${segment.path} are the same part of one log`, {
      hint: 'leave out the copy',
    })
  }
  return log
}

/** Where to begin, so that each intent is known whose end stands in segment `first` or behind it. */
export function leansFrom(log: readonly Segment[], first: number): number {
  if (first <= 0) return 0
  let begin = first - 1
  // A process that was killed left intents open that are no older than this at its end; the next one said what became of them.
  const oldestMs = (log[begin]!.start.ms ?? 0) - openMsMax
  const mayHaveMore = ({ start }: Segment): boolean =>
    start.head?.continues === true || !((start.ms ?? Infinity) <= oldestMs)
  while (begin > 0 && mayHaveMore(log[begin]!)) begin--
  return begin
}

/** Whole frames that stand together, and where. */
export interface Frames {
  readonly from: number
  readonly bytes: Buffer
}

const chunkBytes = 256 * 1024

/** The whole frames of a segment's first bytes, in pieces. What follows the last one is being written, or was torn. */
export async function* framesOf({ path, bytes: to }: RecordFile, goOn: () => void): AsyncGenerator<Frames> {
  await using file = await open(path)
  const buffer = Buffer.allocUnsafe(chunkBytes + frameLengthBytes + frameBytesMax)
  let from = 0
  for (let kept = 0; ; ) {
    goOn()
    const wanted = Math.min(buffer.length - kept, to - from - kept)
    const { bytesRead } = await file.read(buffer, kept, wanted, from + kept)
    if (bytesRead === 0) return
    const bytes = buffer.subarray(0, kept + bytesRead)
    const whole = wholeFrames(bytes)
    // Nothing is whole that has this length: whatever it is, no frame begins behind it.
    if (whole === 0 && bytes.length >= frameLengthBytes + frameBytesMax) return
    if (whole > 0) yield { from, bytes: bytes.subarray(0, whole) }
    from += whole
    kept = bytes.length - whole
    bytes.copy(buffer, 0, whole)
  }
}
