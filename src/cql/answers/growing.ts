/** Memory that an answer is written into when its new length is not known before. */
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { joined } from './splice.ts'

/** What does not fit any more goes into further memory: what is there is not copied, for of 100 MB the loop would stand. */
const partBytesMin = 256
const partBytesMax = 4 * 1024 * 1024

/** Written at `at` of `buf`; what came before that buffer is in parts. */
export class Growing {
  buf: Buffer
  at = 0
  readonly #bytesMax: number
  readonly #parts: Buffer[] = []
  #partsBytes = 0

  /** @param bytes what is probably needed */
  constructor(bytes: number, bytesMax: number = limits.answerBytesMax) {
    this.buf = Buffer.allocUnsafe(bytes)
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#partsBytes + this.at
  }

  /** Makes room for `bytes` in one piece and answers where they start in `buf`. TOO_LARGE above the bound of an answer. */
  room(bytes: number): number {
    const at = this.at
    if (at + bytes > this.buf.length) return this.#grow(bytes)
    this.at = at + bytes
    return at
  }

  #grow(bytes: number): number {
    const wanted = this.bytes + bytes
    if (wanted > this.#bytesMax) {
      throw new RingfenceError('TOO_LARGE', `the changed answer is longer than ${this.#bytesMax} bytes`)
    }
    if (this.at > 0) this.#parts.push(this.buf.subarray(0, this.at))
    this.#partsBytes += this.at
    const further = Math.min(Math.max(wanted >> 1, partBytesMin), partBytesMax, this.#bytesMax - this.#partsBytes)
    this.buf = Buffer.allocUnsafe(Math.max(bytes, further))
    this.at = bytes
    return 0
  }

  int(n: number): void {
    // In two steps: `buf` may be another one then.
    const at = this.room(4)
    writeInt(this.buf, at, n)
  }

  copy(from: Buffer, start: number, end: number): void {
    if (start === end) return
    const at = this.room(end - start)
    from.copy(this.buf, at, start, end)
  }

  /** What was written; no copy where it fitted. */
  written(): Buffer {
    return this.#parts.length === 0 ? this.buf.subarray(0, this.at) : Buffer.concat([...this.#parts, this.#last()])
  }

  /** The same, copied window by window where it has to be. */
  *writtenInWindows(): Generator<undefined, Buffer> {
    return this.#parts.length === 0 ? this.#last() : yield* joined([...this.#parts, this.#last()])
  }

  #last(): Buffer {
    return this.buf.subarray(0, this.at)
  }
}

/** Into memory in which there is room, perhaps of a part that is full by now. */
export function writeInt(buf: Buffer, at: number, n: number): void {
  buf[at] = n >> 24
  buf[at + 1] = n >> 16
  buf[at + 2] = n >> 8
  buf[at + 3] = n
}
