/** The one way in which bytes inside an envelope are replaced by others: the header's length follows. */
import type { Envelope } from '../envelope.ts'
import { envelopeHeaderBytes } from '../protocol.ts'

const lengthAt = 5
/** Copied at once; some of them take a fraction of a millisecond. */
const windowBytes = 512 * 1024

/** Of an envelope `bytes[from..to)` becomes `inserted`. */
export interface Replacement {
  readonly from: number
  readonly to: number
  readonly inserted: Uint8Array
}

/** A new envelope with that replacement. */
export function splice({ bytes, start, end }: Envelope, { from, to, inserted }: Replacement): Buffer {
  const envelope = Buffer.allocUnsafe(end - start - (to - from) + inserted.length)
  bytes.copy(envelope, 0, start, from)
  envelope.set(inserted, from - start)
  bytes.copy(envelope, from - start + inserted.length, to, end)
  writeLength(envelope)
  return envelope
}

/** The same of all of `buf`, copied window by window. */
export function* splicedInWindows(buf: Buffer, { from, to, inserted }: Replacement): Generator<undefined, Buffer> {
  const envelope = yield* joined([buf.subarray(0, from), inserted, buf.subarray(to)])
  writeLength(envelope)
  return envelope
}

/** One behind the other in memory of its own, copied window by window. */
export function* joined(parts: readonly Uint8Array[]): Generator<undefined, Buffer> {
  const whole = Buffer.allocUnsafe(parts.reduce((bytes, part) => bytes + part.length, 0))
  let at = 0
  for (const part of parts) {
    for (let from = 0; from < part.length; from += windowBytes) {
      const window = part.subarray(from, from + windowBytes)
      whole.set(window, at)
      at += window.length
      yield
    }
  }
  return whole
}

/** Writes what is there into the header's length. */
export function writeLength(envelope: Buffer): void {
  envelope.writeInt32BE(envelope.length - envelopeHeaderBytes, lengthAt)
}
