/**
 * The audit's file. Lines are gathered and written once per turn of the event loop, before the sockets are flushed. So a killed process loses
 * no record of what it let out. A file that failed once is never written again.
 */

import { closeSync, constants, ftruncateSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { after, nothingEnds } from '../base/contained.ts'
import type { RingfenceError } from '../base/errors.ts'
import { makeDirectory, writeFailure } from './directory.ts'
import { LineBuffer } from './lines.ts'
import type { AuditBytes, AuditSink, AuditSizes } from './record.ts'
import { appendSizes, auditLineBytesMax, proxyPart } from './record.ts'

/** The part of node:fs that is used; tests hand in one that fails. */
export interface AuditFiles {
  open(path: string): number
  /** Returns how many bytes were taken, which may be fewer. */
  write(fd: number, bytes: Uint8Array, offset: number): number
  truncate(fd: number, length: number): void
  close(fd: number): void
  remove(path: string): void
}

export interface AuditWriterOptions {
  /** Made with mode 0700 when absent. */
  readonly directory: string
  readonly proxy: string
  /** A new file is begun when this is reached, and at each midnight UTC. */
  readonly fileBytesMax: number
  readonly clock: Clock
  /** Called once for each failure, before the caller sees `failed`. */
  readonly onFailure?: (error: RingfenceError) => void
  /** Called when writing works again. */
  readonly onRecovery?: () => void
  readonly files?: AuditFiles
}

const retryMs = 1000
/** Written at once when this much has gathered within a turn. */
const gatheredBytesMax = 256 * 1024
/** Kept for the next file while writing fails; what comes after that is dropped and counted, and its sequence numbers are missing. */
const keptBytesMax = 16 * 1024 * 1024

const realFiles: AuditFiles = {
  open: (path) => {
    const { O_WRONLY, O_APPEND, O_CREAT, O_EXCL } = constants
    return openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL, 0o600)
  },
  write: (fd, bytes, offset) => writeSync(fd, bytes, offset),
  truncate: (fd, length) => ftruncateSync(fd, length),
  close: (fd) => closeSync(fd),
  remove: (path) => unlinkSync(path),
}

/**
 * The beginning of a gathered line, all that does not change while one session asks the same and the clock was not read again. Answers
 * come in bunches, and copying it in one go is cheaper than putting it together.
 */
interface Head {
  session: string
  /** Undefined when there is none. */
  answered: Buffer | undefined
  at: number
  bytes: number
  /** With the sizes, as far as the number of the latency. */
  bytesWithSizes: number
  rows: number
  bytesIn: number
  bytesOut: number
  /** Where its sequence number ends, from `at`. */
  numberEnd: number
  sequence: number
  /** The last number with as many digits. */
  sequenceMax: number
}

export interface AuditFigures {
  readonly lines: number
  /** How often writing began to fail. */
  readonly failures: number
  readonly dropped: number
  /** Of lines that are not written yet. */
  readonly waitingBytes: number
  readonly waitingBytesMax: number
}

export class AuditWriter implements AuditSink, AuditBytes {
  readonly #options: AuditWriterOptions
  readonly #files: AuditFiles
  readonly #proxyPart: string
  readonly #proxyBytes: Buffer
  #fd = -1
  #path = ''
  #fileBytes = 0
  #fileDay = -1
  #filesOpened = 0
  #sequence = 0
  #dropped = 0
  readonly #lines = new LineBuffer(gatheredBytesMax)
  /** Whole lines that a failed file did not take. */
  #kept: Buffer[] = []
  #keptBytes = 0
  #failures = 0
  #failed = false
  #failedInTurn = false
  #closed = false
  #retry: NodeJS.Timeout | undefined
  readonly #roll = (): void => this.#rollIfDue()
  /** The beginning of a line up to its number. The clock is read for the first line between two flushes; the others share it. */
  #timeBytes = Buffer.alloc(0)
  /** Where its milliseconds stand. Of the same second only these are written anew. */
  #millisAt = 0
  #secondMs = Number.NaN
  #timeMs = Number.NaN
  #timeKnown = false
  /** The head that was put together last, while its line is gathered. */
  readonly #head: Head = {
    session: '',
    answered: undefined,
    at: 0,
    bytes: 0,
    bytesWithSizes: 0,
    rows: 0,
    bytesIn: 0,
    bytesOut: 0,
    numberEnd: 0,
    sequence: 0,
    sequenceMax: 0,
  }

  /** Opens the first file. @throws RingfenceError UNAVAILABLE when it cannot */
  constructor(options: AuditWriterOptions) {
    this.#options = options
    this.#files = options.files ?? realFiles
    this.#proxyPart = proxyPart(options.proxy)
    this.#proxyBytes = Buffer.from(this.#proxyPart)
    try {
      if (options.files === undefined) makeDirectory(options.directory)
      this.#openFile()
    } catch (reason) {
      throw writeFailure(reason)
    }
  }

  /** True while records cannot be written. Callers then answer OVERLOADED and forward nothing. */
  get failed(): boolean {
    return this.#failed
  }

  /** Lines that were lost for good. */
  get dropped(): number {
    return this.#dropped
  }

  /** What it has done since it was made. */
  get figures(): AuditFigures {
    const [lines, failures, dropped] = [this.#sequence, this.#failures, this.#dropped]
    return {
      lines,
      failures,
      dropped,
      waitingBytes: this.#lines.length + this.#keptBytes,
      waitingBytesMax: keptBytesMax,
    }
  }

  begin(): string {
    this.#readClock()
    this.#sequence++
    return `${this.#timeBytes.toString('latin1')}${this.#sequence}${this.#proxyPart}`
  }

  beginAnswered(session: string, answered: Buffer, sizes: AuditSizes): LineBuffer {
    const lines = this.#lines
    // What comes after `close` is dropped, as in `append`.
    if (this.#closed) this.#take()
    else if (!lines.hasRoom(auditLineBytesMax)) this.flush()
    this.#readClock()
    this.#sequence++
    const head = this.#head
    if (session === head.session && answered === head.answered && this.#sequence <= head.sequenceMax) {
      const at = lines.length
      const sameSizes = sizes.rows === head.rows && sizes.bytesIn === head.bytesIn && sizes.bytesOut === head.bytesOut
      lines.repeat(head.at, sameSizes ? head.bytesWithSizes : head.bytes)
      lines.addTo(at + head.numberEnd, this.#sequence - head.sequence)
      if (sameSizes) return lines
      // This line is the head of those that follow.
      head.at = at
      head.sequence = this.#sequence
    } else this.#beginHead(session, answered)
    appendSizes(lines, sizes)
    head.bytesWithSizes = lines.length - head.at
    head.rows = sizes.rows
    head.bytesIn = sizes.bytesIn
    head.bytesOut = sizes.bytesOut
    return lines
  }

  #beginHead(session: string, answered: Buffer): void {
    const lines = this.#lines
    const head = this.#head
    head.at = lines.length
    lines.bytes(this.#timeBytes)
    const numberAt = lines.length
    lines.number(this.#sequence)
    const digits = lines.length - numberAt
    head.numberEnd = lines.length - head.at
    lines.bytes(this.#proxyBytes)
    lines.text(session)
    lines.bytes(answered)
    head.bytes = lines.length - head.at
    head.sequence = this.#sequence
    head.sequenceMax = 10 ** digits - 1
    head.session = session
    head.answered = answered
  }

  /** What is gathered. The next line begins with a head of its own, for this one's bytes are borrowed and the time is another. */
  #take(): Buffer {
    this.#head.answered = undefined
    return this.#lines.take()
  }

  /** Gathers a line, which ends with its line feed. Written at the next `flush`. */
  append(line: string): void {
    if (this.#closed) return
    // Three bytes hold any UTF-16 unit, so a short line needs no counting.
    const bytes = line.length * 3 <= auditLineBytesMax ? auditLineBytesMax : Buffer.byteLength(line)
    if (!this.#lines.hasRoom(bytes)) this.flush()
    if (this.#lines.hasRoom(bytes)) this.#lines.text(line)
    else this.#hand(Buffer.from(line))
  }

  /**
   * Call before sockets are flushed. False where writing failed since the last call: lines that were gathered by then are in memory
   * only, so what they tell of must not leave. Never throws.
   */
  endTurn(): boolean {
    this.flush()
    const failed = this.#failedInTurn
    this.#failedInTurn = false
    return !failed
  }

  /** Hands everything gathered to the operating system. Never throws. */
  flush(): void {
    if (this.#lines.length > 0 && !this.#closed) this.#hand(this.#take())
    this.#timeKnown = false
  }

  #hand(bytes: Buffer): void {
    if (this.#failed) this.#keep(bytes)
    else this.#write(bytes, bytes.length, this.#roll)
  }

  #readClock(): void {
    if (this.#timeKnown) return
    this.#timeKnown = true
    const nowMs = this.#options.clock.now()
    if (nowMs === this.#timeMs) return
    this.#timeMs = nowMs
    const ms = Math.trunc(nowMs - this.#secondMs)
    if (ms >= 0 && ms < 1000) {
      writeThreeDigits(this.#timeBytes, this.#millisAt, ms)
      return
    }
    const text = `{"time":"${new Date(nowMs).toISOString()}","seq":`
    this.#secondMs = Math.floor(nowMs / 1000) * 1000
    this.#timeBytes = Buffer.from(text)
    this.#millisAt = text.indexOf('.') + 1
  }

  /** Writes what is gathered, makes one last attempt at what was kept, and closes the file. */
  close(): void {
    if (this.#closed) return
    this.flush()
    clearTimeout(this.#retry)
    if (this.#failed) this.#recover()
    clearTimeout(this.#retry)
    this.#closed = true
    this.#closeFile()
  }

  /** Into a file that `prepare` makes ready; false when that failed, and then what was not written of the first `worthBytes` is kept. */
  #write(bytes: Buffer, worthBytes: number, prepare: () => void): boolean {
    let written = 0
    try {
      prepare()
      while (written < bytes.length) {
        const taken = this.#files.write(this.#fd, bytes, written)
        if (taken <= 0) throw new Error('nothing was written')
        written += taken
      }
      this.#fileBytes += written
      return true
    } catch (reason) {
      // A line that was torn is written again as a whole into the next file; here its beginning is cut off if that is still possible.
      const whole = written === 0 ? 0 : bytes.lastIndexOf(0x0a, written - 1) + 1
      this.#abandonFile(this.#fileBytes + whole)
      if (whole < worthBytes) this.#keep(bytes.subarray(whole, worthBytes))
      this.#retry = after(nothingEnds, 'the record', retryMs, () => this.#recover()).unref()
      if (!this.#failed) {
        this.#failed = true
        this.#failures++
        this.#failedInTurn = true
        this.#options.onFailure?.(writeFailure(reason))
      }
      return false
    }
  }

  #keep(bytes: Buffer): void {
    if (this.#keptBytes + bytes.length > keptBytesMax) {
      for (const byte of bytes) if (byte === 0x0a) this.#dropped++
      return
    }
    // A copy: what was gathered lies in memory that is used again.
    this.#kept.push(Buffer.from(bytes))
    this.#keptBytes += bytes.length
  }

  /** A new file that begins with what was kept and a line that says so: only a write that went through proves that writing works. */
  #recover(): void {
    this.flush()
    const sequence = this.#sequence
    const kept = Buffer.concat(this.#kept)
    const resumed = Buffer.from(`${this.begin()},"event":"resumed","dropped":${this.#dropped}}\n`)
    this.#kept = []
    this.#keptBytes = 0
    if (this.#write(Buffer.concat([kept, resumed]), kept.length, () => this.#openFile())) {
      this.#failed = false
      this.#options.onRecovery?.()
    } else {
      this.#sequence = sequence
    }
  }

  #rollIfDue(): void {
    this.#readClock()
    const day = Math.floor(this.#timeMs / 86_400_000)
    if (this.#fileBytes < this.#options.fileBytesMax && day === this.#fileDay) return
    const before = this.#fd
    this.#openFile()
    attempt(() => this.#files.close(before))
  }

  #openFile(): void {
    const nowMs = this.#options.clock.now()
    const time = new Date(nowMs).toISOString().replace(/[-:]/g, '')
    const proxy = this.#options.proxy.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 128)
    // The number keeps names apart, and in order, within one millisecond.
    const number = String(this.#filesOpened++).padStart(6, '0')
    const path = join(this.#options.directory, `audit-${proxy}-${time}-${number}.jsonl`)
    this.#fd = this.#files.open(path)
    this.#path = path
    this.#fileBytes = 0
    this.#fileDay = Math.floor(nowMs / 86_400_000)
  }

  /** Leaves only whole lines behind, and no file without any. The device that failed may refuse both; then a reader finds one torn last line. */
  #abandonFile(length: number): void {
    if (this.#fd === -1) return
    const fd = this.#fd
    this.#fd = -1
    attempt(() => this.#files.truncate(fd, length))
    attempt(() => this.#files.close(fd))
    if (length === 0) attempt(() => this.#files.remove(this.#path))
  }

  #closeFile(): void {
    const fd = this.#fd
    this.#fd = -1
    if (fd !== -1) attempt(() => this.#files.close(fd))
  }
}

function attempt(step: () => void): void {
  try {
    step()
  } catch {
    // Best effort: the failure that led here is the one that was reported.
  }
}

function writeThreeDigits(bytes: Buffer, at: number, value: number): void {
  bytes[at] = 0x30 + Math.trunc(value / 100)
  bytes[at + 1] = 0x30 + (Math.trunc(value / 10) % 10)
  bytes[at + 2] = 0x30 + (value % 10)
}
