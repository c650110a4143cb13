/**
 * The reader of sealed records: the lines that are not in an archive, for a question that asks them beside it.
 *
 * Rule: intent and outcome are one line. What has no outcome in what is there stands once, as lost, and says that it is not known.
 */
import { open } from 'node:fs/promises'
import { SealedLines } from '../audit/sealed/lines.ts'
import { LinesFile } from './lines-file.ts'
import type { Covered, Span } from './positions.ts'
import type { RecordFile, TimeRange } from './record-file.ts'
import { framesOf, leansFrom, logsOf, type Segment } from './segments.ts'

/** A part of a file of the record, in bytes. */
export interface ReadSpan extends Span {
  readonly file: string
}

/** Writes the lines of this time that the archive does not have, and says of which bytes they are. */
export async function writeSealedLines(
  path: string,
  files: readonly RecordFile[],
  covered: Covered,
  range: TimeRange,
  goOn: () => void,
): Promise<ReadSpan[]> {
  const read: ReadSpan[] = []
  await using target = await open(path, 'wx', 0o600)
  const lines = new LinesFile(target)
  for (const log of logsOf(files)) read.push(...(await writeLog(log, lines, covered, range, goOn)))
  await lines.flush()
  return read
}

async function writeLog(
  log: readonly Segment[],
  lines: LinesFile,
  covered: Covered,
  range: TimeRange,
  goOn: () => void,
): Promise<ReadSpan[]> {
  const missing = log.map(({ name, bytes, writtenMs }) =>
    writtenMs !== undefined && writtenMs < range.fromMs ? [] : covered.missing(name, bytes),
  )
  // What has no end is at the end of the log, packed or not.
  const first = Math.min(...missing.flatMap((spans, at) => (spans.length > 0 ? [at] : [])), log.length - 1)
  let from = 0
  let spans: readonly Span[] = []
  const sealed = new SealedLines(
    (line) => lines.add(line),
    (ms, at) => ms >= range.fromMs && ms < range.toMs && (at < 0 || spans.some((span) => isIn(span, from + at))),
  )
  for (let at = leansFrom(log, first); at < log.length; at++) {
    spans = missing[at]!
    for await (const frames of framesOf(log[at]!, goOn)) {
      from = frames.from
      sealed.segment(frames.bytes)
      await lines.flushIfFull()
    }
  }
  sealed.end()
  return log.flatMap(({ name }, at) => missing[at]!.map((span) => ({ file: name, ...span })))
}

function isIn({ from, to }: Span, at: number): boolean {
  return from <= at && at < to
}
