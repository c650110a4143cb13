/** The one way in which bytes inside an envelope are replaced by others: the header's length follows. */
import { envelopeHeaderBytes } from '../protocol.ts'

const lengthAt = 5

/** A new envelope in which `inserted` stands for `buf[from..to)`; offsets are those of `buf`. */
export function splice(
  buf: Buffer,
  start: number,
  end: number,
  from: number,
  to: number,
  inserted: Uint8Array,
): Buffer {
  const envelope = Buffer.allocUnsafe(end - start - (to - from) + inserted.length)
  buf.copy(envelope, 0, start, from)
  envelope.set(inserted, from - start)
  buf.copy(envelope, from - start + inserted.length, to, end)
  writeLength(envelope)
  return envelope
}

/** Writes what is there into the header's length. */
export function writeLength(envelope: Buffer): void {
  envelope.writeInt32BE(envelope.length - envelopeHeaderBytes, lengthAt)
}
