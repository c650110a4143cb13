/**
 * The reader of a record in lines: where the lines of one hour stand in a file, and these lines by themselves. A sealed record has a reader of
 * its own (`sealed-lines.ts`).
 *
 * Rule: files may be gigabytes, so whoever reads is asked at each piece whether it is to go on (`goOn`, which throws where not).
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { Span } from './positions.ts'

/** Whole lines that stand together in a file, all of one hour. */
export interface Run extends Span {
  /** `2026-11-30T04`, in UTC. */
  readonly hour: string
  readonly lines: number
}

const chunkBytes = 4 * 1024 * 1024
const lineFeed = 0x0a
const head = '{"time":"'
const hourPattern = /^\d{4}-\d{2}-\d{2}T\d{2}$/
/** Half a character stands as this in a line. DuckDB reads no such text, though a JSON reader may. */
const halfCharacter = '\\ud'

/**
 * The runs of a part of a file. A line that does not say its time is of the run that it stands in. What follows the last line feed is left out:
 * it is being written, or was torn.
 */
export async function* runsOf(path: string, { from, to }: Span, goOn: () => void): AsyncGenerator<Run> {
  let at = from
  let carried: Buffer = Buffer.alloc(0)
  let run = { hour: '', from, to: from, lines: 0 }
  for await (const piece of createReadStream(path, { start: from, end: to - 1, highWaterMark: chunkBytes })) {
    goOn()
    const bytes = carried.length === 0 ? (piece as Buffer) : Buffer.concat([carried, piece as Buffer])
    let start = 0
    for (let end = bytes.indexOf(lineFeed); end >= 0; end = bytes.indexOf(lineFeed, start)) {
      const hour = hourOf(bytes, start)
      if (hour !== undefined && hour !== run.hour) {
        if (run.hour !== '') {
          yield run
          run = { hour, from: at + start, to: at + start, lines: 0 }
        } else run.hour = hour
      }
      run.lines++
      start = end + 1
      run.to = at + start
    }
    at += start
    carried = bytes.subarray(start)
  }
  if (run.hour !== '') yield run
}

function hourOf(bytes: Buffer, start: number): string | undefined {
  if (bytes.toString('latin1', start, start + head.length) !== head) return undefined
  const hour = bytes.toString('latin1', start + head.length, start + head.length + 13)
  return hourPattern.test(hour) ? hour : undefined
}

/** Adds lines to a file that DuckDB reads, and says the SHA-256 of them as they stand. */
export async function copyLines(path: string, span: Span, target: FileHandle, goOn: () => void): Promise<string> {
  const hash = createHash('sha256')
  let carried: Buffer = Buffer.alloc(0)
  for await (const piece of createReadStream(path, { start: span.from, end: span.to - 1, highWaterMark: chunkBytes })) {
    goOn()
    hash.update(piece as Buffer)
    const bytes = carried.length === 0 ? (piece as Buffer) : Buffer.concat([carried, piece as Buffer])
    const whole = bytes.lastIndexOf(lineFeed) + 1
    await target.writeFile(readable(bytes.subarray(0, whole)))
    carried = bytes.subarray(whole)
  }
  // A last line that is being written.
  if (carried.length > 0) await target.writeFile(Buffer.concat([carried, Buffer.from('\n')]))
  return hash.digest('hex')
}

/** Whether DuckDB can read it as it is. */
export async function isReadableAsIs(path: string, goOn: () => void): Promise<boolean> {
  await using file = await open(path)
  const buffer = Buffer.allocUnsafe(chunkBytes)
  for (let kept = 0; ; ) {
    goOn()
    const { bytesRead } = await file.read(buffer, kept, buffer.length - kept)
    if (bytesRead === 0) return true
    const bytes = buffer.subarray(0, kept + bytesRead)
    if (bytes.includes(halfCharacter)) return false
    kept = Math.min(bytes.length, halfCharacter.length - 1)
    bytes.copy(buffer, 0, bytes.length - kept)
  }
}

/** Whole lines, with U+FFFD for what is half a character. */
export function readable(lines: Buffer): Buffer {
  if (!lines.includes(halfCharacter)) return lines
  const mended = lines.toString('utf8').split('\n').map(mendedLine).join('\n')
  return Buffer.from(mended)
}

function mendedLine(line: string): string {
  if (!line.includes(halfCharacter)) return line
  try {
    return JSON.stringify(JSON.parse(line), (_key, value) => (typeof value === 'string' ? value.toWellFormed() : value))
  } catch {
    return line
  }
}
