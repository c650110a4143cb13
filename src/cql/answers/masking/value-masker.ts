/** What masks one value, at once or in steps, and what all ways to mask have in common. */
import type { BodyReader } from '../../reader.ts'
import type { CqlType } from '../../types.ts'
import { Growing, writeInt } from '../growing.ts'

/** Writes the masked form of the value `buf[start..end)`, without a length. */
export interface ValueMasker {
  (out: Growing, buf: Buffer, start: number, end: number): void
  /** The same in steps of a millisecond or less, for a value of more than `stepBytes`; undefined where it takes no longer. */
  readonly steps?: Steps
}

export type Steps = (out: Growing, buf: Buffer, start: number, end: number) => Generator<undefined, void>

/** Of elements, each of which may have to be hashed. */
export const stepBytes = 2048

/** Of one text or blob, in a step. */
export const windowBytes = 256 * 1024

/** The part of a mask that looks at one text, number, …; undefined where it cannot be done for that type. */
export type LeafOf = (type: CqlType) => ValueMasker | undefined

/** The masked value with its length in front. */
export function writeMasked(out: Growing, masker: ValueMasker, buf: Buffer, start: number, end: number): void {
  const lengthAt = out.room(4)
  const { buf: lengthBuf, bytes: before } = out
  masker(out, buf, start, end)
  writeInt(lengthBuf, lengthAt, out.bytes - before)
}

/** The same in steps, where the value is long and the masker has some. */
export function* writeMaskedInSteps(
  out: Growing,
  masker: ValueMasker,
  buf: Buffer,
  start: number,
  end: number,
): Generator<undefined, void> {
  if (masker.steps === undefined || end - start <= stepBytes) {
    writeMasked(out, masker, buf, start, end)
    return
  }
  const lengthAt = out.room(4)
  const { buf: lengthBuf, bytes: before } = out
  yield* masker.steps(out, buf, start, end)
  writeInt(lengthBuf, lengthAt, out.bytes - before)
}

/** A masker that is its steps, one after the other. */
export function inSteps(steps: Steps): ValueMasker {
  const masker = (out: Growing, buf: Buffer, start: number, end: number): void => {
    const all = steps(out, buf, start, end)
    while (all.next().done !== true);
  }
  return Object.assign(masker, { steps })
}

/** Empty bytes of a type that has no empty value read as null, a legacy of Thrift; they stay. */
export function unlessEmpty(type: CqlType, masker: ValueMasker): ValueMasker {
  if (type.kind === 'text' || type.kind === 'ascii' || type.kind === 'blob') return masker
  const { steps } = masker
  const unless = (out: Growing, buf: Buffer, start: number, end: number): void => {
    if (start !== end) masker(out, buf, start, end)
  }
  // Nothing that has more bytes than `stepBytes` is empty.
  return steps === undefined ? unless : Object.assign(unless, { steps })
}

/** Masks the [bytes] that come next. */
export function maskNext(out: Growing, reader: BodyReader, masker: ValueMasker): void {
  const bytes = reader.skipBytes()
  if (bytes < 0) out.int(-1)
  else writeMasked(out, masker, reader.buf, reader.at - bytes, reader.at)
}

export function* maskNextInSteps(out: Growing, reader: BodyReader, masker: ValueMasker): Generator<undefined, void> {
  const bytes = reader.skipBytes()
  if (bytes < 0) out.int(-1)
  else yield* writeMaskedInSteps(out, masker, reader.buf, reader.at - bytes, reader.at)
}

export function isLongNext({ buf, at, remaining }: BodyReader, { steps }: ValueMasker): boolean {
  return steps !== undefined && remaining > 4 && buf.readInt32BE(at) > stepBytes
}

export function* maskedNext(reader: BodyReader, masker: ValueMasker): Generator<undefined, Buffer> {
  const out = new Growing(64)
  if (isLongNext(reader, masker)) yield* maskNextInSteps(out, reader, masker)
  else maskNext(out, reader, masker)
  return out.written()
}
