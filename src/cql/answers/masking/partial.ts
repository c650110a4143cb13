/** Text and blobs of which some characters or bytes at the ends stay. */
import { isUtf8 } from 'node:buffer'
import { RingfenceError } from '../../../base/errors.ts'
import type { Growing } from '../growing.ts'
import { inSteps, type LeafOf, windowBytes } from './value-masker.ts'

const star = 0x2a

export function partialOf(keepStart: number, keepEnd: number): LeafOf {
  return ({ kind }) => {
    if (kind === 'blob') return inSteps((out, buf, start, end) => partialBlob(out, buf, start, end, keepStart, keepEnd))
    if (kind !== 'text' && kind !== 'ascii') return undefined
    return inSteps((out, buf, start, end) => partialText(out, buf, start, end, keepStart, keepEnd))
  }
}

/** How many of `count` stay at the start and at the end: never more than half, shared as they were asked for. */
function kept(count: number, keepStart: number, keepEnd: number): { first: number; last: number } {
  const most = count >> 1
  if (keepStart + keepEnd <= most) return { first: keepStart, last: keepEnd }
  const first = Math.floor((most * keepStart) / (keepStart + keepEnd))
  return { first, last: Math.min(keepEnd, most - first) }
}

/** Characters are code points: no driver gets half of one. */
function* partialText(
  out: Growing,
  buf: Buffer,
  start: number,
  end: number,
  keepStart: number,
  keepEnd: number,
): Generator<undefined, void> {
  const count = yield* characters(buf, start, end)
  const { first, last } = kept(count, keepStart, keepEnd)
  let firstEnd = start
  for (let i = 0; i < first; i++) {
    firstEnd++
    while ((buf[firstEnd]! & 0xc0) === 0x80) firstEnd++
  }
  let lastStart = end
  for (let i = 0; i < last; i++) {
    lastStart--
    while ((buf[lastStart]! & 0xc0) === 0x80) lastStart--
  }
  out.copy(buf, start, firstEnd)
  yield* fill(out, star, count - first - last)
  out.copy(buf, lastStart, end)
}

function* characters(buf: Buffer, start: number, end: number): Generator<undefined, number> {
  let count = 0
  for (let from = start; from < end; ) {
    if (from > start) yield
    let to = Math.min(from + windowBytes, end)
    // A window ends where a character does; where that is not found soon it is no text.
    for (let i = 0; i < 3 && to < end && (buf[to]! & 0xc0) === 0x80; i++) to++
    if (!isUtf8(buf.subarray(from, to))) throw new RingfenceError('PROTOCOL', 'text is not well-formed utf-8')
    for (let i = from; i < to; i++) if ((buf[i]! & 0xc0) !== 0x80) count++
    from = to
  }
  return count
}

function* fill(out: Growing, byte: number, bytes: number): Generator<undefined, void> {
  for (let left = bytes; left > 0; ) {
    if (left < bytes) yield
    const some = Math.min(left, windowBytes)
    const at = out.room(some)
    out.buf.fill(byte, at, at + some)
    left -= some
  }
}

function* partialBlob(
  out: Growing,
  buf: Buffer,
  start: number,
  end: number,
  keepStart: number,
  keepEnd: number,
): Generator<undefined, void> {
  const { first, last } = kept(end - start, keepStart, keepEnd)
  out.copy(buf, start, start + first)
  yield* fill(out, 0, end - start - first - last)
  out.copy(buf, end - last, end)
}
