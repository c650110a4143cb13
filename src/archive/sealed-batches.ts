/**
 * Sealed records for `audit pack`: each log is read once, from its first frame that is not packed, and parted into lines of one hour each.
 *
 * Rule: a batch names the bytes whose lines it has, and no line of other bytes is in it. A request without an end is in none, until its end comes.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { SealedLines } from '../audit/sealed/lines.ts'
import { LinesFile } from './lines-file.ts'
import type { Covered, Position, Span } from './positions.ts'
import { framesOf, leansFrom, type Segment } from './segments.ts'

/** Lines of one hour, in a file of their own, and what they were made of. */
export interface LinesBatch {
  readonly hour: string
  readonly made: readonly Position[]
}

export interface BatchOptions {
  /** Where the lines are written, over those of the batch before. */
  readonly path: string
  /** Hours that began before this. */
  readonly beforeMs: number
  readonly batchBytesMax: number
  readonly goOn: () => void
}

/** Lines that stand together in a segment, of one hour. */
interface Run {
  readonly span: Span
  readonly from: number
  lines: number
}

interface Found {
  readonly line: string
  readonly at: number
}

const hourPattern = /^\d{4}-\d{2}-\d{2}T\d{2}$/
const hourFrom = '{"time":"'.length
const hourTo = hourFrom + '2026-11-30T04'.length

/** Each batch is to be packed before the next one is asked for. */
export async function* batchesOfLog(
  log: readonly Segment[],
  covered: Covered,
  options: BatchOptions,
): AsyncGenerator<LinesBatch> {
  const missing = log.map(({ name, bytes }) => covered.missing(name, bytes))
  const first = missing.findIndex((spans) => spans.length > 0)
  if (first < 0) return
  const found: Found[] = []
  let spans: readonly Span[] = []
  let from = 0
  let at = 0
  const spanAt = (place: number): Span | undefined => spans.find((span) => span.from <= place && place < span.to)
  const sealed = new SealedLines(
    (line) => found.push({ line, at }),
    (_ms, start) => {
      at = from + start
      return spanAt(at) !== undefined
    },
  )
  await using file = await open(options.path, 'a', 0o600)
  // Those that were packed before may lie in it.
  await file.truncate(0)
  const batch = new Batch(file, options.goOn)
  for (let next = leansFrom(log, first); next < log.length; next++) {
    const segment = log[next]!
    let reached = 0
    let dealtWith: Span | undefined
    spans = missing[next]!
    for await (const frames of framesOf(segment, options.goOn)) {
      from = frames.from
      reached = from + frames.bytes.length
      sealed.segment(frames.bytes)
      for (const each of found.splice(0)) {
        const hour = each.line.slice(hourFrom, hourTo)
        const span = spanAt(each.at)!
        const isFull = batch.bytes >= options.batchBytesMax
        if (isFull || batch.hour !== hour) {
          batch.endRun(segment, each.at)
          if (batch.isWorth) {
            yield await batch.take()
            await batch.next()
          }
        }
        const begin = dealtWith === span ? each.at : span.from
        dealtWith = span
        if (!hourPattern.test(hour) || Date.parse(`${hour}:00:00Z`) >= options.beforeMs) continue
        batch.add(segment, span, hour, begin, each.line)
      }
      await batch.flushIfFull()
    }
    batch.endRun(segment, reached)
  }
  if (batch.isWorth) yield await batch.take()
}

/** The batch that is being filled. */
class Batch {
  readonly #file: FileHandle
  readonly #goOn: () => void
  #lines: LinesFile
  #runs: { segment: Segment; from: number; to: number; lines: number }[] = []
  #run: Run | undefined
  hour = ''

  constructor(file: FileHandle, goOn: () => void) {
    this.#file = file
    this.#goOn = goOn
    this.#lines = new LinesFile(file)
  }

  get bytes(): number {
    return this.#lines.bytes
  }

  get isWorth(): boolean {
    return this.#runs.length > 0
  }

  add(segment: Segment, span: Span, hour: string, from: number, line: string): void {
    if (this.#run?.span !== span) this.endRun(segment, span.from)
    this.#run ??= { span, from, lines: 0 }
    this.#run.lines++
    this.hour = hour
    this.#lines.add(line)
  }

  /** The run has what stands before `to`, as far as it is missing. */
  endRun(segment: Segment, to: number): void {
    if (this.#run === undefined) return
    const { span, from, lines } = this.#run
    this.#run = undefined
    this.#runs.push({ segment, from, to: Math.min(to, span.to), lines })
  }

  flushIfFull(): Promise<void> {
    return this.#lines.flushIfFull()
  }

  async take(): Promise<LinesBatch> {
    await this.#lines.flush()
    const made: Position[] = []
    for (const { segment, from, to, lines } of this.#runs) {
      made.push({ file: segment.name, from, to, lines, sha256: await this.#hashOf(segment.path, { from, to }) })
    }
    this.#runs = []
    return { hour: this.hour, made }
  }

  /** What was taken is packed. */
  async next(): Promise<void> {
    await this.#file.truncate(0)
    this.#lines = new LinesFile(this.#file)
  }

  async #hashOf(path: string, { from, to }: Span): Promise<string> {
    const hash = createHash('sha256')
    for await (const piece of createReadStream(path, { start: from, end: to - 1 })) {
      this.#goOn()
      hash.update(piece as Buffer)
    }
    return hash.digest('hex')
  }
}
