import { after, every, nothingEnds } from '../../base/contained.ts'
import { makeDirectory, writeFailure } from '../directory.ts'
import type { AuditFigures } from '../writer.ts'
import { Block } from './block.ts'
import { BlockLog } from './block-log.ts'
import { realFiles } from './files.ts'
import { blockHeaderBytes, formatName, frameKind, isNumbered, type SegmentHead } from './format.ts'
import { FrameBuffer } from './frame-buffer.ts'
import { frameEnd, kindAt } from './frames.ts'
import { GroupCommit } from './group-commit.ts'
import { Kept, keptBytesMax } from './kept.ts'
import { keyStatement, type LogKey, openLogKey } from './log-key.ts'
import type { SealedWriterOptions } from './options.ts'
import { type Recovered, recover } from './recover.ts'
import { Segment } from './segment.ts'

const retryMs = 1000
const sealMs = 1000
const bufferBytes = 1024 * 1024
const sealBytes = 256 * 1024
/** That one event needs at most: time, session, statement, verdict, what was asked, and itself. */
const framesOfEvent = 6
const sealFrameBytes = 3 + 8 + blockHeaderBytes

export class SealedWriter {
  readonly #options: SealedWriterOptions
  readonly #key: LogKey
  readonly #log: BlockLog
  readonly #frames = new FrameBuffer(bufferBytes + sealFrameBytes)
  readonly #kept = new Kept()
  readonly #commits: GroupCommit
  readonly #timer: NodeJS.Timeout
  #block: Block
  readonly #segment: Segment
  /** Of the gathered bytes, those that the segment has. */
  #written = 0
  #number: number
  /** The last number that the segments have. */
  #numberWritten: number
  #ms = 0
  #timeKnown = false
  #failed = false
  #failures = 0
  #numberBefore = 0
  #failedInTurn = false
  #closed = false
  #isSigning = false
  #retry: NodeJS.Timeout | undefined
  /** Changes whenever what was defined has to be defined again. */
  generation = 0
  /** The last number before what was defined. */
  numberDefined = 0

  /** Goes on with the log that is there. @throws RingfenceError UNAVAILABLE when it cannot */
  constructor(options: SealedWriterOptions) {
    this.#options = options
    const files = options.files ?? realFiles
    this.#commits = new GroupCommit(files, (reason) => this.#fail(reason))
    try {
      makeDirectory(options.directory)
      this.#key = openLogKey(options.directory, options.origin)
      const found = recover(options.directory, this.#key.key)
      this.#segment = new Segment(options, files, found.serial)
      this.#number = found.number
      this.#numberWritten = found.number
      this.#numberBefore = found.number
      this.#block = found.block
      this.#log = new BlockLog(found.tiles, this.#key, found.signed, (reason) => this.#told(reason))
      this.#openSegment()
      this.#begin(found)
      this.#write(this.#frames.at)
    } catch (reason) {
      throw writeFailure(reason)
    }
    if (this.#failed) throw writeFailure(undefined)
    // What the process before left may be old: it is not to lie there unsigned beside what is new.
    this.#seal()
    if (this.#commits.flushNow()) this.#sign(this.#log.size)
    this.#timer = every(nothingEnds, 'the record', sealMs, () => this.sealNow()).unref()
  }

  /** True while nothing can be written, and it must be. */
  get failed(): boolean {
    return this.#failed && this.#options.durability !== 'best-effort'
  }

  /** What it has done since it was made. */
  get figures(): AuditFigures {
    const { dropped, bytes } = this.#kept
    const waitingBytes = this.#frames.at - this.#written + bytes
    return {
      lines: this.#number - this.#numberBefore,
      failures: this.#failures,
      dropped,
      waitingBytes,
      waitingBytesMax: keptBytesMax,
    }
  }

  /** The number of the last record. */
  get number(): number {
    return this.#number
  }

  /** Makes room for the frames of one event, each of which ends by `end`. The time stands before them. */
  reserve(): FrameBuffer {
    const frames = this.#frames
    if (!frames.hasRoom(framesOfEvent)) this.#makeRoom()
    if (!this.#timeKnown) this.#tellTime()
    return frames
  }

  /** Where frames go for which there is room. */
  get frames(): FrameBuffer {
    return this.#frames
  }

  /** The frame that was begun is whole. */
  end(): void {
    this.#frames.end()
    this.#block.frames++
  }

  /** The frame that is begun has a number: this one. */
  nextNumber(): number {
    return ++this.#number
  }

  /** What is no transaction, as JSON. */
  event(value: object): void {
    const frames = this.reserve()
    frames.begin(frameKind.event)
    frames.text(JSON.stringify(value))
    this.#number++
    this.end()
  }

  /** False where writing failed since the last call, and what is told of in memory only must not leave. Never throws. */
  endTurn(): boolean {
    this.flush()
    if (this.#frames.at >= sealBytes) this.#seal()
    const failed = this.#failedInTurn && this.#options.durability !== 'best-effort'
    this.#failedInTurn = false
    return !failed
  }

  /** Hands everything gathered to the operating system. Never throws. */
  flush(): void {
    this.#timeKnown = false
    if (!this.#failed && !this.#closed && this.#written < this.#frames.at) this.#write(this.#frames.at)
  }

  /** Of durability `disk`: resolves when the disk has everything so far; false where it has not. */
  commit(): Promise<boolean> {
    this.flush()
    return this.#failed ? Promise.resolve(false) : this.#commits.commit()
  }

  close(): void {
    if (this.#closed) return
    clearInterval(this.#timer)
    clearTimeout(this.#retry)
    this.flush()
    if (this.#failed) this.#recover()
    clearTimeout(this.#retry)
    if (!this.#failed) {
      if (this.#block.isWorth) this.#seal()
      const checkpoint = this.#commits.flushNow() ? this.#log.sign() : undefined
      if (checkpoint !== undefined) this.#options.onCheckpoint?.(checkpoint, this.#key.key)
    }
    this.#closed = true
    this.#commits.stop()
    this.#segment.close()
  }

  #begin({ open, isRebuilt }: Recovered): void {
    this.event({ event: 'started', unknown: open.length, ...(isRebuilt && { rebuilt: true }) })
    for (const number of open) {
      const frames = this.reserve()
      frames.begin(frameKind.unknown)
      frames.number(number)
      this.end()
    }
    this.event(keyStatement(this.#key.key, this.#options.certifier()))
  }

  /** Seals what came, and signs it when the disk has it; done each second. */
  sealNow(): void {
    if (this.#closed || this.#failed) return
    this.flush()
    if (this.#failed) return
    if (this.#block.isWorth) this.#seal()
    if (this.#isSigning || !this.#log.isDue) return
    this.#isSigning = true
    const { size } = this.#log
    // A power cut would take back what was shown to a witness, and a log that was cut short is a rollback for ever.
    this.#commits.whenFlushed((isFlushed) => {
      this.#isSigning = false
      if (isFlushed && !this.#closed) this.#sign(size)
    })
  }

  #sign(size: number): void {
    const checkpoint = this.#log.sign(size)
    if (checkpoint === undefined) return
    this.#options.onCheckpoint?.(checkpoint, this.#key.key)
    const frames = this.#frames
    // It stands right behind the blocks that it was signed for, or not in the log.
    if (this.#failed || this.#log.size !== size || !frames.hasRoom(framesOfEvent)) return
    frames.begin(frameKind.checkpoint)
    frames.text(checkpoint)
    this.end()
    this.#block.idle++
    this.flush()
  }

  #tellTime(): void {
    this.#timeKnown = true
    const nowMs = this.#options.clock.now()
    if (nowMs === this.#ms) return
    this.#ms = nowMs
    const frames = this.#frames
    frames.begin(frameKind.time)
    frames.milliseconds(nowMs)
    this.end()
    this.#block.at(nowMs)
  }

  #makeRoom(): void {
    const timeKnown = this.#timeKnown
    this.flush()
    this.#timeKnown = timeKnown
    if (!this.#failed && !this.#closed) this.#seal()
    if (!this.#failed && !this.#closed) return
    // What cannot be written waits elsewhere; of what has no room there only the number is known.
    const frames = this.#frames
    if (!this.#closed) {
      const lost = this.#kept.add(frames.bytes.subarray(0, frames.at))
      this.#block.frames -= lost
      if (lost > 0) this.#ms = 0
    }
    frames.at = 0
  }

  /** Writes the gathered bytes up to `end`, of which a seal is no part of the block. */
  #write(end: number, contentEnd = end): boolean {
    const { bytes } = this.#frames
    const from = this.#written
    let written = from
    try {
      while (written < end) written += this.#segment.write(bytes.subarray(written, end))
      this.#written = contentEnd
      this.#segment.bytes += end - from
      this.#commits.wrote(end - from)
      this.#numberWritten = this.#number
      return true
    } catch (reason) {
      let whole = from
      const content = bytes.subarray(0, contentEnd)
      for (let next = frameEnd(content, from); next > 0 && next <= written; next = frameEnd(content, next)) whole = next
      for (let at = from; at < whole; at = frameEnd(bytes, at)) if (isNumbered(kindAt(bytes, at))) this.#numberWritten++
      this.#segment.bytes += whole - from
      this.#written = whole
      this.#fail(reason)
      return false
    }
  }

  #seal(): void {
    const block = this.#block
    const frames = this.#frames
    if (block.frames === 0) return
    const contentEnd = frames.at
    const header = block.header(frames.bytes.subarray(0, contentEnd), this.#number)
    frames.begin(frameKind.seal)
    frames.bytes.writeBigUInt64BE(BigInt(this.#log.size), frames.at)
    frames.at += 8
    frames.copy(header)
    frames.end()
    const end = frames.at
    frames.at = contentEnd
    if (!this.#write(end, contentEnd)) return
    this.#log.add(header)
    frames.at = 0
    this.#written = 0
    this.#block = new Block(this.#number)
    this.#defineAnew(this.#number)
    this.#rollIfDue()
  }

  /** What is written from here on leans on nothing before it: a block is read by itself, and so is what follows what was lost. */
  #defineAnew(number: number): void {
    this.generation++
    this.numberDefined = number
    this.#ms = 0
    this.#timeKnown = false
  }

  #rollIfDue(): void {
    if (!this.#segment.isDue) return
    this.#commits.leave(this.#segment.fd)
    this.#segment.fd = -1
    try {
      this.#openSegment()
    } catch (reason) {
      this.#fail(reason)
      return
    }
    this.event(keyStatement(this.#key.key, this.#options.certifier()))
    this.#write(this.#frames.at)
  }

  /** Its first frame is gathered, not written. */
  #openSegment(): void {
    this.#openFile()
    this.#head(this.#frames, false)
    this.#block.frames++
  }

  #openFile(): void {
    this.#segment.open()
    this.#commits.use(this.#segment.fd)
  }

  #head(frames: FrameBuffer, continues: boolean): void {
    const { origin, proxy } = this.#options
    const key = this.#key.key.text
    const head = { origin, key, proxy, number: this.#numberWritten, blocks: this.#log.size, continues }
    frames.json(frameKind.head, { format: formatName, ...head } satisfies SegmentHead)
  }

  #fail(reason: unknown): void {
    const frames = this.#frames
    this.#commits.failed()
    this.#segment.abandon()
    // What the segment has is in the block; what it has not goes on in the next one.
    this.#block.carry(frames.bytes.subarray(0, this.#written))
    frames.bytes.copyWithin(0, this.#written, frames.at)
    frames.at -= this.#written
    this.#written = 0
    clearTimeout(this.#retry)
    this.#retry = after(nothingEnds, 'the record', retryMs, () => this.#recover()).unref()
    if (this.#failed) return
    this.#failed = true
    this.#failures++
    this.#failedInTurn = true
    this.#told(reason)
  }

  #told(reason: unknown): void {
    this.#options.onFailure?.(writeFailure(reason))
  }

  /** A new segment that begins with what was kept and an event that says so: only a write that went through proves that writing works. */
  #recover(): void {
    const frames = this.#frames
    const lost = this.#kept.add(frames.bytes.subarray(0, frames.at))
    this.#block.frames -= lost
    frames.at = 0
    const { dropped } = this.#kept
    const seq = this.#number + 1
    const first = new FrameBuffer(4 * 65_536)
    this.#head(first, true)
    const last = new FrameBuffer(4096)
    const nowMs = this.#options.clock.now()
    last.begin(frameKind.time)
    last.milliseconds(nowMs)
    last.end()
    last.json(frameKind.event, { event: 'resumed', dropped, seq })
    const bytes = Buffer.concat([first.bytes.subarray(0, first.at), ...this.#kept.all, last.bytes.subarray(0, last.at)])
    try {
      this.#openFile()
      for (let at = 0; at < bytes.length; ) at += this.#segment.write(bytes.subarray(at))
    } catch (reason) {
      // Nothing of it counts: it is all written once more.
      this.#segment.bytes = 0
      this.#fail(reason)
      return
    }
    this.#segment.bytes = bytes.length
    this.#commits.wrote(bytes.length)
    this.#block.carry(bytes)
    this.#block.frames += 3
    this.#block.at(nowMs)
    this.#ms = nowMs
    this.#number = seq
    this.#numberWritten = seq
    this.#kept.clear()
    // What was lost may have defined something.
    if (dropped > 0) this.#defineAnew(seq)
    this.#failed = false
    this.#options.onRecovery?.()
    this.sealNow()
  }
}
