/**
 * Files of the record, followed: their last lines, and those that come, whatever their form.
 *
 * Rule: what is held does not grow. Each step reads a piece of each file, and what nobody has taken yet stays in the files.
 */
import { open } from 'node:fs/promises'
import { isSegment, type RecordFile } from '../../archive/record-file.ts'
import { leansFrom, logsOf } from '../../archive/segments.ts'
import { wholeFrames } from '../../audit/sealed/frames.ts'
import { SealedLines } from '../../audit/sealed/lines.ts'
import { isGone, type TailFile, TailFiles, unlessGone } from './tail-files.ts'

/** So much of the end of each log, and of each folder's lines, is looked at for its last lines. */
const lastBytesMax = 1024 * 1024
const pieceBytes = 256 * 1024
const lineFeed = 0x0a

interface Followed {
  /** What was taken, or need not be. */
  at: number
  /** Lines of what stands before are not wanted. */
  readonly wantedFrom: number
  /** The first line may have lost its beginning. */
  isCut: boolean
}

export class RecordTail {
  readonly #list: () => TailFile[]
  readonly #onLine: (line: string) => void
  /** By what a file is, wherever it lies. */
  readonly #followed = new Map<string, Followed>()
  readonly #logs = new Map<string, SealedLines>()
  readonly #buffer = Buffer.allocUnsafe(pieceBytes)
  #reading = { from: 0, wantedFrom: 0 }

  /** @param list the files that are there now, of each folder in their order */
  constructor(list: () => readonly RecordFile[], onLine: (line: string) => void) {
    const files = new TailFiles()
    this.#list = () => files.of(list())
    this.#onLine = onLine
    const byWhole = Map.groupBy(this.#list(), ({ whole }) => whole)
    for (const files of byWhole.values()) this.#begin(files)
  }

  /** Reads on in each file; false where nothing had come. */
  async step(): Promise<boolean> {
    let hasCome = false
    const behind = new Set<string>()
    for (const file of this.#list()) {
      const { whole } = file
      // Segments are read one after the other.
      if (behind.has(whole) && isSegment(file)) continue
      const followed = this.#followedOf(file)
      if (file.bytes <= followed.at) continue
      const taken = await this.#taken(file, followed)
      if (taken === 0) continue
      hasCome = true
      followed.at += taken
      if (followed.at < file.bytes) behind.add(whole)
    }
    return hasCome
  }

  /** What is under way is not waited for: its lines say so. */
  end(): void {
    this.#reading = { from: 0, wantedFrom: 0 }
    for (const log of this.#logs.values()) log.end()
  }

  #followedOf({ id }: TailFile): Followed {
    const followed = this.#followed.get(id) ?? { at: 0, wantedFrom: 0, isCut: false }
    this.#followed.set(id, followed)
    return followed
  }

  /** Nothing of what went after it was listed. */
  async #taken(file: TailFile, followed: Followed): Promise<number> {
    try {
      return await (isSegment(file) ? this.#frames(file, followed) : this.#lines(file, followed))
    } catch (reason) {
      if (isGone(reason)) return 0
      throw reason
    }
  }

  /** What is before the last bytes is left out, but that segments are read from where these lean. */
  #begin(files: readonly TailFile[]): void {
    let left = lastBytesMax
    for (const file of files.toReversed()) {
      const from = Math.max(0, file.bytes - left)
      left -= file.bytes - from
      // In a segment a frame begins at its beginning for certain.
      const at = isSegment(file) && from < file.bytes ? 0 : from
      this.#followed.set(file.id, { at, wantedFrom: from, isCut: at > 0 && !isSegment(file) })
    }
    const ids = new Map(files.map(({ path, id }) => [path, id]))
    const placeOf = ({ path }: RecordFile): Followed => this.#followed.get(ids.get(path)!)!
    for (const log of unlessGone(() => logsOf(files)) ?? []) {
      const first = log.findIndex((segment) => placeOf(segment).wantedFrom < segment.bytes)
      if (first < 0) continue
      for (const segment of log.slice(leansFrom(log, first))) placeOf(segment).at = 0
    }
  }

  async #lines({ path, bytes }: RecordFile, followed: Followed): Promise<number> {
    const piece = await this.#read(path, followed.at, bytes)
    const whole = piece.lastIndexOf(lineFeed) + 1
    // No sidecar writes a line that is longer than a piece.
    if (whole === 0) return piece.length === pieceBytes ? piece.length : 0
    let start = followed.isCut ? piece.indexOf(lineFeed) + 1 : 0
    followed.isCut = false
    for (let end = piece.indexOf(lineFeed, start); end >= 0; end = piece.indexOf(lineFeed, start)) {
      if (end > start) this.#onLine(piece.toString('utf8', start, end))
      start = end + 1
    }
    return whole
  }

  async #frames({ path, bytes, whole: log }: TailFile, followed: Followed): Promise<number> {
    const piece = await this.#read(path, followed.at, bytes)
    const whole = wholeFrames(piece)
    this.#reading = { from: followed.at, wantedFrom: followed.wantedFrom }
    this.#logOf(log).segment(piece.subarray(0, whole))
    return whole
  }

  #logOf(key: string): SealedLines {
    const known = this.#logs.get(key)
    if (known !== undefined) return known
    const isWanted = (_ms: number, at: number): boolean => at < 0 || this.#reading.from + at >= this.#reading.wantedFrom
    const log = new SealedLines(this.#onLine, isWanted)
    this.#logs.set(key, log)
    return log
  }

  /** Borrowed until the next one. */
  async #read(path: string, from: number, to: number): Promise<Buffer> {
    await using file = await open(path)
    const { bytesRead } = await file.read(this.#buffer, 0, Math.min(pieceBytes, to - from), from)
    return this.#buffer.subarray(0, bytesRead)
  }
}
